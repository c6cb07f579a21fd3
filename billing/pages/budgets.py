"""/billing/budgets/: limits on what may be spent, and how much of each is."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import require_owner, team_of
from accounts.choices import Role
from accounts.forms import add_refusal
from accounts.models import Membership
from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of
from billing.actions import budgets as actions
from billing.choices import BudgetScope
from billing.forms import BudgetForm
from billing.models import EnforcementAction
from billing.queries.budgets import budgets_of
from portal.lib.errors import Conflict, InvalidInput

SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def budgets(request: PortalRequest) -> HttpResponse:
    """The list and the form; setting one."""
    if request.method == "POST":
        require_owner(request.actor)
        return _set(request)
    return _page(request, BudgetForm(), 200)


@require_POST
@signed_in
def remove(request: PortalRequest, budget_id: str) -> HttpResponse:
    """Watch one no more."""
    actions.remove_budget(request.actor, budget_id)
    messages.success(request, "The budget is removed.")
    return redirect("budgets")


def _set(request: PortalRequest) -> HttpResponse:
    form = BudgetForm(request.POST)
    if not form.is_valid():
        return _page(request, form, 400)
    try:
        budget = actions.set_budget(
            request.actor,
            BudgetScope(form.cleaned_data["scope"]),
            form.cleaned_data["target"],
            amount_micros=form.amount_micros,
            is_hard=form.cleaned_data["is_hard"],
        )
    except (InvalidInput, Conflict) as error:
        add_refusal(form, error)
        return _page(request, form, 400)
    messages.success(request, f"The budget of {actions.name_of(budget)} is set.")
    return redirect("budgets")


def _page(request: PortalRequest, form: BudgetForm, status: int) -> HttpResponse:
    account, team = account_of(request.actor), team_of(request.actor)
    context = {
        "form": form,
        "uses": [(use, actions.name_of(use.budget)) for use in budgets_of(account)],
        "enforcements": EnforcementAction.objects.filter(account=account).order_by("-pk")[:SHOWN],
        "is_owner": request.actor.role == Role.OWNER,
        "members": Membership.objects.filter(team=team)
        .order_by("user__email")
        .values_list("user__email", flat=True),
        "keys": team.api_keys.order_by("name").values_list("public_id", "name"),
    }
    return render(request, "billing/budgets.html", context, status=status)
