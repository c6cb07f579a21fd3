"""Stripe's own pages: where credit is paid, and where a card is saved."""

from __future__ import annotations

from typing import Any, cast

import stripe
from django.conf import settings
from stripe.params.checkout import SessionCreateParams

from billing.gateways.client import asking, client
from billing.gateways.facts import PaymentFacts, SetupFacts, card_facts, session_facts
from portal.lib.errors import Conflict


def payment_page(
    *,
    reference: str,
    net_cents: int,
    tax_cents: int,
    tax_name: str,
    currency: str,
    customer_id: str,
    success_url: str,
    cancel_url: str,
) -> dict[str, Any]:
    """The request for a page where credit and the tax on it are paid; see `open_page`."""
    lines = [_line(currency, net_cents, f"{settings.SITE_NAME} credit")]
    if tax_cents:
        lines.append(_line(currency, tax_cents, tax_name))
    return {
        "mode": "payment",
        "client_reference_id": reference,
        "customer": customer_id,
        "line_items": lines,
        "metadata": {"payment": reference},
        "payment_intent_data": {"metadata": {"payment": reference}},
        "payment_method_types": ["card"],
        "success_url": success_url,
        "cancel_url": cancel_url,
    }


def card_page(
    *, reference: str, currency: str, customer_id: str, success_url: str, cancel_url: str
) -> dict[str, Any]:
    """The request for a page where a card is saved for payments nobody is there to confirm."""
    return {
        "mode": "setup",
        "client_reference_id": reference,
        "customer": customer_id,
        "currency": currency,
        "metadata": {"card_setup": reference},
        "setup_intent_data": {"metadata": {"card_setup": reference}},
        "payment_method_types": ["card"],
        "success_url": success_url,
        "cancel_url": cancel_url,
    }


def open_page(request: dict[str, Any], *, idempotency_key: str) -> tuple[str, str | None]:
    """Make the page; the same key and request give the same one. Returns its id and address."""
    with asking("Opening the payment page"):
        session = client().v1.checkout.sessions.create(
            cast(SessionCreateParams, request), {"idempotency_key": idempotency_key}
        )
    return session.id, session.url


def fetch_payment_session(session_id: str) -> PaymentFacts:
    """A payment page as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a checkout session"):
        return session_facts(client().v1.checkout.sessions.retrieve(session_id))


def fetch_card_session(session_id: str) -> SetupFacts:
    """A page for saving a card as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a checkout session"):
        session = client().v1.checkout.sessions.retrieve(
            session_id, {"expand": ["setup_intent.payment_method"]}
        )
    intent = session.setup_intent
    if isinstance(intent, str):
        raise Conflict("Stripe did not expand the card of the session.")
    method = intent.payment_method if intent and intent.status == "succeeded" else None
    return SetupFacts(
        reference=session.client_reference_id or "",
        session_id=session.id,
        is_done=session.status == "complete" and method is not None,
        is_expired=session.status == "expired",
        card=card_facts(method) if isinstance(method, stripe.PaymentMethod) else None,
        url=session.url,
    )


def _line(currency: str, cents: int, name: str) -> dict[str, Any]:
    return {
        "quantity": 1,
        "price_data": {
            "currency": currency,
            "unit_amount": cents,
            "product_data": {"name": name},
        },
    }
