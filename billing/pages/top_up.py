"""/billing/top-up/: choose an amount, pay at Stripe, come back."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of, payment_for
from billing.actions.payments import settle_session
from billing.actions.topups import MAX_CENTS, MIN_CENTS, start_top_up
from billing.choices import PaymentStatus
from billing.forms import TopUpForm
from billing.models import Payment
from billing.pages.facts import facts_of
from billing.queries.funds import funds_of
from portal.lib.errors import InvalidInput, Unavailable

PRESETS = (10, 25, 50, 100, 500)
DEFAULT = Decimal(25)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def top_up(request: PortalRequest) -> HttpResponse:
    """The form; a good one leads to the page of the payment provider."""
    if request.method != "POST":
        return _form(request, TopUpForm(initial={"amount": _asked(request)}), 200)
    form = TopUpForm(request.POST)
    if not form.is_valid():
        return _form(request, form, 400)
    try:
        url = start_top_up(request.actor, amount_cents=form.amount_cents)
    except InvalidInput as error:
        form.add_error("amount", error.message)
        return _form(request, form, 400)
    except Unavailable as error:
        form.add_error(None, error.message)
        return _form(request, form, 503)
    return HttpResponseRedirect(url, status=303)


@require_safe
@signed_in
def top_up_return(request: PortalRequest) -> HttpResponse:
    """Where the payment page sends people back; what happened is asked of Stripe."""
    payment = _settled(payment_for(request.actor, request.GET.get("payment", "")))
    context = {
        "payment": payment,
        "is_paid": payment.status == PaymentStatus.SUCCEEDED,
        "is_canceled": payment.status == PaymentStatus.CANCELED,
        "facts": facts_of(funds_of(payment.account)),
    }
    response = render(request, "billing/top_up_return.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _settled(payment: Payment) -> Payment:
    """Settle at once where it can be; the webhook does the rest."""
    if payment.status != PaymentStatus.SUBMITTED or payment.checkout_session_id is None:
        return payment
    try:
        return settle_session(payment.checkout_session_id)
    except Unavailable:
        return payment  # shown as on its way; the page asks again


def _asked(request: PortalRequest) -> Decimal:
    """The amount a preset link or another page proposes."""
    try:
        amount = Decimal(request.GET.get("amount", ""))
    except InvalidOperation:
        return DEFAULT
    fits = amount.is_finite() and MIN_CENTS <= amount * 100 <= MAX_CENTS
    return amount if fits else DEFAULT


def _form(request: PortalRequest, form: TopUpForm, status: int) -> HttpResponse:
    context = {
        "form": form,
        "presets": PRESETS,
        "chosen": form.initial.get("amount"),
        "facts": facts_of(funds_of(account_of(request.actor))),
        "is_demo": settings.DEMO,
        "was_canceled": "canceled" in request.GET,
    }
    return render(request, "billing/top_up.html", context, status=status)
