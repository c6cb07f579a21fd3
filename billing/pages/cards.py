"""/billing/cards/: saved cards, and what is charged to them without being asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import require_owner
from accounts.choices import Role
from accounts.forms import add_refusal
from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of, card_setup_for
from billing.actions import cards as saved
from billing.actions.auto_top_up import LEAST_BETWEEN, set_rule, turn_off
from billing.choices import PAUSE_ADVICE, CardStatus, PauseReason, PaymentStatus, SetupStatus
from billing.forms import AutoTopUpForm
from billing.models import AutoTopUp, BillingAccount
from billing.pages.facts import facts_of
from billing.queries.funds import funds_of
from portal.lib.errors import Conflict, InvalidInput, PortalError, Unavailable
from portal.lib.money import MICROS

_DEFAULTS = {"threshold": 10, "amount": 50, "monthly_maximum": 500}
# What to do about a pause.


@require_safe
@signed_in
def cards(request: PortalRequest) -> HttpResponse:
    """The whole page."""
    return _page(request, None, 200)


@require_POST
@signed_in
def add_card(request: PortalRequest) -> HttpResponse:
    """Leads to the page of the payment provider where the card is typed."""
    try:
        return HttpResponseRedirect(saved.start_card_setup(request.actor), status=303)
    except (Conflict, Unavailable) as error:
        return _back(request, error)


@require_safe
@signed_in
def card_return(request: PortalRequest) -> HttpResponse:
    """Where that page sends people back; what happened is asked of Stripe."""
    setup = card_setup_for(request.actor, request.GET.get("setup", ""))
    if setup.status == SetupStatus.SUBMITTED and setup.checkout_session_id:
        try:
            setup = saved.settle_card_setup(setup.checkout_session_id)
        except Unavailable as error:
            return _back(request, error)
    if setup.status == SetupStatus.DONE:
        messages.success(request, f"{setup.card} is saved.")
    else:
        messages.info(request, "No card was saved yet. It appears here once Stripe confirms it.")
    return redirect("cards")


@require_POST
@signed_in
def default_card(request: PortalRequest, card_id: str) -> HttpResponse:
    """Charge this one from now on."""
    card = saved.set_default_card(request.actor, card_id)
    messages.success(request, f"{card} is charged from now on.")
    return redirect("cards")


@require_POST
@signed_in
def remove_card(request: PortalRequest, card_id: str) -> HttpResponse:
    """Forget one."""
    try:
        saved.remove_card(request.actor, card_id)
    except (Conflict, Unavailable) as error:
        return _back(request, error)
    messages.success(request, "The card is removed, here and at Stripe.")
    return redirect("cards")


@require_POST
@signed_in
def auto_top_up_rule(request: PortalRequest) -> HttpResponse:
    """Turn automatic top-up on, or change it."""
    require_owner(request.actor)
    form = AutoTopUpForm(request.POST)
    if not form.is_valid():
        return _page(request, form, 400)
    try:
        set_rule(
            request.actor,
            threshold_cents=form.cents("threshold"),
            amount_cents=form.cents("amount"),
            monthly_maximum_cents=form.cents("monthly_maximum"),
        )
    except InvalidInput as error:
        add_refusal(form, error)
        return _page(request, form, 400)
    messages.success(request, "Automatic top-up is on.")
    return redirect("cards")


@require_POST
@signed_in
def auto_top_up_off(request: PortalRequest) -> HttpResponse:
    """Charge nothing by itself any more."""
    turn_off(request.actor)
    messages.success(request, "Automatic top-up is off. Nothing is charged by itself.")
    return redirect("cards")


def _page(request: PortalRequest, form: AutoTopUpForm | None, status: int) -> HttpResponse:
    account = account_of(request.actor)
    rule = AutoTopUp.objects.filter(account=account).first()
    context = _rule_facts(rule) | {
        "cards": account.cards.filter(status=CardStatus.ACTIVE).order_by("-is_default", "-pk"),
        "form": form or AutoTopUpForm(initial=_initial(rule)),
        "facts": facts_of(funds_of(account)),
        "is_owner": request.actor.role == Role.OWNER,
        "waiting": _waiting(account),
        "is_demo": settings.DEMO,
        "least_hours": int(LEAST_BETWEEN.total_seconds() // 3600),
    }
    return render(request, "billing/cards.html", context, status=status)


def _rule_facts(rule: AutoTopUp | None) -> dict[str, Any]:
    is_on = rule is not None and rule.is_on
    reason = PauseReason(rule.pause_reason) if rule and is_on and rule.pause_reason else None
    return {
        "is_on": is_on,
        "pause_label": reason.label if reason else "",
        "pause_advice": PAUSE_ADVICE[reason] if reason else "",
    }


def _initial(rule: AutoTopUp | None) -> dict[str, Any]:
    if rule is None:
        return dict(_DEFAULTS)
    return {
        "threshold": Decimal(rule.threshold_micros) / MICROS,
        "amount": Decimal(rule.amount_micros) / MICROS,
        "monthly_maximum": Decimal(rule.monthly_maximum_micros) / MICROS,
    }


def _waiting(account: BillingAccount) -> Any:
    return account.payments.filter(status=PaymentStatus.REQUIRES_ACTION).order_by("pk").first()


def _back(request: PortalRequest, error: PortalError) -> HttpResponse:
    messages.error(request, error.message)
    return redirect("cards")
