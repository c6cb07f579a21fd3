"""API keys: list, make, revoke."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.actions.teams import create_api_key, revoke_api_key
from accounts.forms import ApiKeyForm, add_refusal
from accounts.pages.base import PortalRequest, signed_in
from accounts.queries.teams import keys_of
from portal.lib.errors import InvalidInput


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def api_keys(request: PortalRequest) -> HttpResponse:
    """One's own keys; a new one's secret is on the page that answers, and never again."""
    form = ApiKeyForm(request.POST or None)
    secret = ""
    status = 200
    if request.method == "POST":
        secret = _make(request, form)
        status = 200 if secret else 400
    context = {
        "secret": secret,
        "example": _example(secret),
        "form": ApiKeyForm() if secret else form,
        "keys": keys_of(request.actor),
    }
    response = render(request, "accounts/api_keys.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@signed_in
def api_key_revoke(request: PortalRequest, key_id: str) -> HttpResponse:
    """End a key at once."""
    revoke_api_key(request.actor, key_id.replace("\0", ""))
    messages.success(request, "The key is revoked. Whatever used it is refused from now on.")
    return redirect("api_keys")


def _make(request: PortalRequest, form: ApiKeyForm) -> str:
    if not form.is_valid():
        return ""
    try:
        _, secret = create_api_key(request.actor, name=form.cleaned_data["name"])
    except InvalidInput as error:
        add_refusal(form, error)
        return ""
    return secret


def _example(secret: str) -> str:
    address = settings.SITE_URL + reverse("api_pools")
    return f'curl -H "Authorization: Bearer {secret}" {address}'
