"""One's own settings."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.actions.people import rename_person
from accounts.forms import PersonForm, add_refusal
from accounts.pages.base import PortalRequest, signed_in
from portal.lib.errors import InvalidInput


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings(request: PortalRequest) -> HttpResponse:
    """Name, e-mail, password, theme."""
    form = PersonForm(request.POST or None, initial={"name": request.user.name})
    if request.method == "POST" and form.is_valid():
        try:
            rename_person(request.actor, name=form.cleaned_data["name"])
        except InvalidInput as error:
            add_refusal(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("settings")
    status = 400 if form.errors else 200
    return render(request, "accounts/settings.html", {"form": form}, status=status)
