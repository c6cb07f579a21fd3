"""/billing/details/: who invoices are made out to."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import require_owner
from accounts.choices import Role
from accounts.forms import add_refusal
from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of
from billing.actions.profile import Details, save_profile
from billing.forms import DetailsForm
from billing.models import BillingProfile
from portal.lib.errors import InvalidInput


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def details(request: PortalRequest) -> HttpResponse:
    """The form, and saving it."""
    account = account_of(request.actor)
    if request.method == "POST":
        require_owner(request.actor)
        return _save(request)
    profile = BillingProfile.objects.filter(account=account).first()
    initial = (
        {name: getattr(profile, name) for name in Details.__dataclass_fields__} if profile else {}
    )
    return _page(request, DetailsForm(initial=initial), 200)


def _save(request: PortalRequest) -> HttpResponse:
    form = DetailsForm(request.POST)
    if not form.is_valid():
        return _page(request, form, 400)
    try:
        save_profile(request.actor, Details(**form.cleaned_data))
    except InvalidInput as error:
        add_refusal(form, error)
        return _page(request, form, 400)
    messages.success(request, "Saved. Invoices from now on are made out to this.")
    return redirect("billing_details")


def _page(request: PortalRequest, form: DetailsForm, status: int) -> HttpResponse:
    context = {"form": form, "is_owner": request.actor.role == Role.OWNER}
    return render(request, "billing/details.html", context, status=status)
