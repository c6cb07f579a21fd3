"""/jobs/: the list."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, signed_in
from clusters.access import jobs_of
from clusters.examples import DIGITS
from clusters.pages.launch import example_cost_micros
from clusters.queries.jobs import FILTERS, filter_counts, filtered, rows_of
from portal.lib import clock

PAGE_SIZE = 25


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def jobs(request: PortalRequest) -> HttpResponse:
    """The team's jobs, newest first; for htmx only the table."""
    template = "clusters/jobs_live.html" if request.htmx else "clusters/jobs.html"
    response = render(request, template, _context(request))
    response["Cache-Control"] = "no-store"
    return response


def _context(request: PortalRequest) -> dict[str, Any]:
    found = jobs_of(request.actor)
    status = request.GET.get("status", "")
    counts = filter_counts(found)
    page = Paginator(filtered(found, status), PAGE_SIZE).get_page(request.GET.get("page"))
    query = urlencode({"status": status}) if status else ""
    return {
        "chips": _chips(counts, status),
        "rows": rows_of(list(page.object_list)),
        "page": page,
        "query": query,
        "here": request.get_full_path(),
        "has_jobs": counts["all"] > 0,
        "status": status,
        "example": DIGITS,
        "example_url": f"{reverse('job_new')}?{urlencode({'example': DIGITS.slug})}",
        "example_micros": None if counts["all"] else example_cost_micros(request.actor, DIGITS),
        "at": clock.now(),
    }


def _chips(counts: dict[str, int], status: str) -> list[dict[str, Any]]:
    names = {"": "all", **{name: name for name in FILTERS}}
    return [
        {
            "label": name.capitalize(),
            "count": counts[name],
            "url": f"?status={value}" if value else reverse("jobs"),
            "is_active": value == status,
        }
        for value, name in names.items()
    ]
