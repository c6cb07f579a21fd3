"""A page of the staff console that asks something and then does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from accounts.forms import add_refusal
from accounts.models import User
from portal.lib.errors import PortalError


def ask(
    console: Any,
    request: HttpRequest,
    form: forms.Form,
    act: Callable[[User], str],
    *,
    title: str,
    text: str,
    back: str,
) -> HttpResponse:
    """Show `form`; when it is valid, `act` as the member of staff and go `back`.

    `act` returns what to say. What it refuses is shown in the form.
    """
    if not console.has_view_permission(request) or not isinstance(request.user, User):
        raise PermissionDenied
    if form.is_valid():
        try:
            messages.success(request, act(request.user))
        except PortalError as error:
            add_refusal(form, error)
        else:
            return HttpResponseRedirect(back)
    context: dict[str, Any] = {
        **console.admin_site.each_context(request),
        "title": title,
        "text": text,
        "opts": console.model._meta,
        "form": form,
        "back": back,
    }
    return TemplateResponse(
        request, "admin/billing/ask.html", context, status=400 if form.errors else 200
    )
