"""Charging a saved card while its owner is away."""

from __future__ import annotations

import stripe
from django.conf import settings

from billing.actions.payments import give_up, settle_payment
from billing.gateways.client import Refused
from billing.gateways.intents import charge, off_session_charge
from billing.models import Payment, PaymentMethod
from portal.lib.errors import NotFound
from portal.lib.money import to_cents


def write_request(payment: Payment, card: PaymentMethod, *, customer_id: str) -> None:
    """Note on the payment what will be sent, in the transaction that makes it."""
    payment.request = off_session_charge(
        reference=payment.public_id,
        amount_cents=to_cents(payment.amount_micros),
        currency=payment.currency,
        customer_id=customer_id,
        card_id=card.stripe_id,
        description=f"{settings.SITE_NAME}: {payment.get_purpose_display().lower()}",
    )
    payment.save(update_fields=["request"])


def submit(payment: Payment) -> Payment:
    """Send the payment to Stripe, once or again, and settle it by the answer.

    Raises Unavailable when Stripe does not answer: whether the card was charged is unknown then,
    and `billing.actions.recovery` asks again with the same key.
    """
    try:
        facts = charge(payment.request, idempotency_key=payment.idempotency_key)
    except (Refused, NotFound) as refusal:
        return give_up(payment, code=getattr(refusal, "refusal_code", ""), message=refusal.message)
    except stripe.CardError as error:
        # Refused outright: Stripe made no payment and will send no word of it.
        return give_up(payment, code=error.code or "", message=error.user_message or "")
    return settle_payment(facts)
