"""Charging a saved card while its owner is away, and asking them in when the bank wants that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import stripe
from stripe.params import PaymentIntentCreateParams

from billing.gateways.client import asking, client
from billing.gateways.facts import PaymentFacts, intent_facts

# A clock that is set right was off by an hour at most: what was made then is still found.
CLOCKS_APART = timedelta(hours=2)


def off_session_charge(
    *,
    reference: str,
    amount_cents: int,
    currency: str,
    customer_id: str,
    card_id: str,
    description: str,
) -> dict[str, Any]:
    """The request that charges a saved card; see `charge`."""
    return {
        "amount": amount_cents,
        "currency": currency,
        "customer": customer_id,
        "payment_method": card_id,
        "payment_method_types": ["card"],
        "off_session": True,
        "confirm": True,
        "description": description,
        "metadata": {"payment": reference},
    }


def charge(request: dict[str, Any], *, idempotency_key: str) -> PaymentFacts:
    """Charge; the same key and request charge once. What the card's bank says is in the facts.

    Raises Unavailable where nobody knows what became of it, Refused where nothing was made.
    """
    try:
        with asking("Charging a card"):
            intent = client().v1.payment_intents.create(
                cast(PaymentIntentCreateParams, request), {"idempotency_key": idempotency_key}
            )
    except stripe.CardError as error:
        intent_id = _intent_of(error)
        if intent_id is None:
            raise
        return fetch_intent(intent_id)
    return intent_facts(intent)


def fetch_intent(intent_id: str) -> PaymentFacts:
    """A PaymentIntent as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a payment"):
        return intent_facts(client().v1.payment_intents.retrieve(intent_id))


def find_intent(reference: str, *, customer_id: str, since: datetime) -> PaymentFacts | None:
    """The customer's payment with our reference, made after `since` by any clock; else None.

    A list, because Stripe's search lags behind.
    """
    with asking("Looking for a payment"):
        listed = client().v1.payment_intents.list(
            {
                "customer": customer_id,
                "created": {"gte": int((since - CLOCKS_APART).timestamp())},
                "limit": 100,
            }
        )
        for intent in listed.auto_paging_iter():
            facts = intent_facts(intent)
            if facts.reference == reference:
                return facts
    return None


def confirm_with_owner(intent_id: str, *, card_id: str, return_url: str) -> PaymentFacts:
    """Try again with the card's owner present; `url` of the facts is the bank's question."""
    try:
        with asking("Confirming a payment"):
            intent = client().v1.payment_intents.confirm(
                intent_id,
                {"payment_method": card_id, "return_url": return_url, "off_session": False},
            )
    except stripe.CardError:
        return fetch_intent(intent_id)
    return intent_facts(intent)


def cancel_intent(intent_id: str) -> PaymentFacts:
    """Give an unpaid payment up; one that was paid meanwhile is returned as paid."""
    try:
        with asking("Canceling a payment"):
            intent = client().v1.payment_intents.cancel(intent_id)
    except stripe.CardError:
        return fetch_intent(intent_id)
    return intent_facts(intent)


def _intent_of(error: stripe.CardError) -> str | None:
    """A decline carries its PaymentIntent; a card that is refused outright carries none."""
    body = error.json_body
    inner = body.get("error", {}) if isinstance(body, dict) else {}
    intent = inner.get("payment_intent") or {}
    found = intent.get("id")
    return found if isinstance(found, str) else None
