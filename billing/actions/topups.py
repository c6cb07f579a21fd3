"""Adding credit with a card."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from billing.access import account_of
from billing.choices import PaymentStatus
from billing.gateways.stripe import CheckoutSession, gateway
from billing.models import BillingAccount, Payment
from portal.lib.errors import InvalidInput, Unavailable
from portal.lib.money import format_money, from_cents, to_cents

MIN_CENTS = 5_00
MAX_CENTS = 5_000_00
RETURN_PATH = "/billing/top-up/return/"
CANCEL_PATH = "/billing/top-up/"


def start_top_up(actor: Actor, *, amount_cents: int) -> str:
    """Begin to add credit; returns the address of the page where it is paid.

    Any member of the team may. Raises InvalidInput outside $5 to $5,000, Unavailable when Stripe
    does not answer; then nothing was charged. Must not be called inside a transaction.
    """
    if not MIN_CENTS <= amount_cents <= MAX_CENTS:
        raise InvalidInput.of(
            amount=f"Choose an amount from {format_money(from_cents(MIN_CENTS))} "
            f"to {format_money(from_cents(MAX_CENTS))}."
        )
    account = account_of(actor)
    payment = _intend(actor, account, amount_cents)
    session = _checkout(actor, account, payment)
    # A webhook may have been faster: only a draft moves.
    Payment.objects.filter(pk=payment.pk, status=PaymentStatus.DRAFT).update(
        status=PaymentStatus.SUBMITTED, checkout_session_id=session.id
    )
    if session.url is None:
        raise Unavailable("The payment page is closed already. Start again.")
    return session.url


@transaction.atomic
def _intend(actor: Actor, account: BillingAccount, amount_cents: int) -> Payment:
    """The payment and its key, committed before Stripe hears of it."""
    payment = Payment.objects.create(
        account=account,
        amount_micros=from_cents(amount_cents),
        currency=account.currency,
        idempotency_key=f"top-up-{uuid.uuid4()}",
    )
    audit.record(
        actor,
        "top_up.started",
        team=team_of(actor),
        object_id=payment.public_id,
        amount_micros=payment.amount_micros,
    )
    return payment


def _checkout(actor: Actor, account: BillingAccount, payment: Payment) -> CheckoutSession:
    back = settings.SITE_URL + RETURN_PATH + "?" + urlencode({"payment": payment.public_id})
    return gateway().create_checkout(
        reference=payment.public_id,
        amount_cents=to_cents(payment.amount_micros),
        currency=payment.currency,
        customer_id=account.stripe_customer_id,
        email=actor.user.email if actor.user else "",
        success_url=back,
        cancel_url=settings.SITE_URL + CANCEL_PATH + "?canceled=1",
        idempotency_key=payment.idempotency_key,
    )
