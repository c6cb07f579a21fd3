"""A payment whose bank wants to hear from the card's owner."""

from __future__ import annotations

from accounts.access import require_owner
from accounts.actor import Actor
from billing.actions.payments import settle_payment
from billing.choices import PaymentStatus
from billing.gateways.intents import confirm_with_owner
from billing.models import Payment
from portal.lib.errors import Conflict


def confirm_payment(actor: Actor, payment: Payment, *, return_url: str) -> str | None:
    """Try again with the owner present; returns the address of the bank's question, if it asks.

    Raises Conflict for a payment that waits for nobody, Unavailable when Stripe does not answer.
    """
    require_owner(actor)
    waits = payment.status == PaymentStatus.REQUIRES_ACTION
    if not waits or payment.card is None or payment.payment_intent_id is None:
        raise Conflict("This payment does not wait for you.")
    facts = confirm_with_owner(
        payment.payment_intent_id, card_id=payment.card.stripe_id, return_url=return_url
    )
    settle_payment(facts)
    return facts.url
