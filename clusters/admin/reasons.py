"""The page that asks staff why, before they change what customers feel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.actor import Actor
from accounts.models import User
from portal.lib.errors import PortalError
from portal.lib.staff import LookOnlyAdmin

MAX_REASON = 300


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Goes into the audit trail with your name.",
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What is about to be done: `text` says what follows from it, `facts` what is at stake."""

    title: str
    text: str
    button: str
    done: str
    back: str
    facts: tuple[str, ...] = ()
    is_harsh: bool = False
    help_text: str = ""
    max_length: int = MAX_REASON


def staff_actor(request: HttpRequest, reason: str = "") -> Actor:
    """Whoever is signed in to the console. Raises PermissionDenied for others."""
    if not isinstance(request.user, User) or not request.user.is_staff:
        raise PermissionDenied
    return Actor.staff(request.user, team=None, reason=reason)


def ask_why(
    request: HttpRequest, page: LookOnlyAdmin, asked: Question, act: Callable[[Actor, str], object]
) -> HttpResponse:
    """Show the question; with a reason, `act(actor, reason)`, say so and go back."""
    form = ReasonForm(request.POST if request.method == "POST" else None)
    field: Any = form.fields["reason"]
    field.max_length = asked.max_length
    field.help_text = asked.help_text or field.help_text
    if form.is_valid():
        reason = form.cleaned_data["reason"]
        try:
            act(staff_actor(request, reason), reason)
        except PortalError as error:
            form.add_error("reason" if "reason" in error.fields else None, error.message)
        else:
            messages.success(request, asked.done)
            return HttpResponseRedirect(asked.back)
    context = {
        **page.admin_site.each_context(request),
        "title": asked.title,
        "opts": page.model._meta,
        "asked": asked,
        "form": form,
    }
    return TemplateResponse(
        request, "admin/clusters/ask_why.html", context, status=400 if form.errors else 200
    )
