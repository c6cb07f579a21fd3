"""Customers and their cards at Stripe."""

from __future__ import annotations

from stripe.params import CustomerCreateParams

from billing.gateways.client import Refused, asking, client
from billing.gateways.facts import CardFacts, card_facts


def create_customer(*, account_id: int, email: str, idempotency_key: str) -> str:
    """A customer for a billing account; the same key gives the same one. Returns its id."""
    params: CustomerCreateParams = {"metadata": {"billing_account": str(account_id)}}
    if email:
        params["email"] = email
    with asking("Creating a customer"):
        customer = client().v1.customers.create(params, {"idempotency_key": idempotency_key})
    return customer.id


def fetch_card(card_id: str) -> CardFacts:
    """A card as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a card"):
        return card_facts(client().v1.payment_methods.retrieve(card_id))


def forget_card(card_id: str) -> None:
    """Detach a card from its customer; one that is detached already stays so."""
    try:
        with asking("Removing a card"):
            client().v1.payment_methods.detach(card_id)
    except Refused:
        if fetch_card(card_id).customer_id is not None:
            raise
