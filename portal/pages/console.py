"""The staff console's sidebar: every list by app, and the pages that are no list."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups of links, as unfold's `SIDEBAR.navigation` wants them."""
    loop = reverse("admin:clusters_engine_loop_page")
    own = {"clusters": [_link(request, "Control loop", loop)]}
    groups = []
    for app in admin.site.get_app_list(request):
        lists = [_link(request, model["name"], str(model["admin_url"])) for model in app["models"]]
        groups.append({"title": app["name"], "items": own.get(app["app_label"], []) + lists})
    for group in groups:
        _leave_one_active(group["items"])
    return groups


def _link(request: HttpRequest, title: str, url: str) -> dict[str, Any]:
    return {"title": title, "link": url, "active": request.path.startswith(url)}


def _leave_one_active(items: list[dict[str, Any]]) -> None:
    """The longest address that fits is where we are."""
    active = sorted((item for item in items if item["active"]), key=lambda item: len(item["link"]))
    for item in active[:-1]:
        item["active"] = False
