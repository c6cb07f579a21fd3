"""Stripe, as little of it as we use. Never called inside a transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import requests
import stripe
from django.conf import settings
from stripe.params.checkout import SessionCreateParams

from portal.lib.errors import NotFound, Unavailable

logger = logging.getLogger(__name__)
TIMEOUT_S = 10.0
RETRIES = 2
_SILENT = "The payment provider does not answer. Nothing was charged; try again in a minute."


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """A Checkout Session as Stripe has it now. `reference` is the public id of our Payment."""

    id: str
    reference: str
    is_paid: bool
    is_expired: bool
    amount_cents: int
    currency: str
    url: str | None
    payment_intent_id: str | None
    customer_id: str | None


class StripeGateway:
    """Typed calls. Each raises Unavailable where Stripe does not answer or refuses us."""

    def __init__(self, api_key: str, api_base: str) -> None:
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else None,
            http_client=_http_client(api_base),
            max_network_retries=RETRIES,
        )

    def create_checkout(
        self,
        *,
        reference: str,
        amount_cents: int,
        currency: str,
        customer_id: str | None,
        email: str,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
    ) -> CheckoutSession:
        """A page where `amount_cents` of credit is paid; the same key gives the same page."""
        params: SessionCreateParams = {
            "mode": "payment",
            "client_reference_id": reference,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": currency,
                        "unit_amount": amount_cents,
                        "product_data": {"name": f"{settings.SITE_NAME} credit"},
                    },
                }
            ],
            "metadata": {"payment": reference},
            "payment_intent_data": {"metadata": {"payment": reference}},
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        if customer_id:
            params["customer"] = customer_id
        else:
            params["customer_creation"] = "always"
            if email:
                params["customer_email"] = email
        try:
            session = self._client.v1.checkout.sessions.create(
                params, {"idempotency_key": idempotency_key}
            )
        except stripe.StripeError as error:
            raise _unavailable("creating a checkout session", error) from error
        return _facts(session)

    def fetch_session(self, session_id: str) -> CheckoutSession:
        """The session as it is now. Raises NotFound where Stripe has none."""
        try:
            session = self._client.v1.checkout.sessions.retrieve(session_id)
        except stripe.InvalidRequestError as error:
            raise NotFound("The payment provider knows no such payment.") from error
        except stripe.StripeError as error:
            raise _unavailable("reading a checkout session", error) from error
        return _facts(session)


def gateway() -> StripeGateway:
    """The gateway the settings name."""
    return _gateway(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@lru_cache(maxsize=4)
def _gateway(api_key: str, api_base: str) -> StripeGateway:
    if not api_key:
        raise Unavailable(
            "Payments are not set up here: the operator has to set STRIPE_SECRET_KEY."
        )
    return StripeGateway(api_key, api_base)


def _http_client(api_base: str) -> stripe.RequestsClient:
    session = None
    if urlsplit(api_base).hostname in {"127.0.0.1", "localhost", "::1"}:
        # A proxy named by the environment leads out, never to our own sandbox.
        session = requests.Session()
        session.trust_env = False
    return stripe.RequestsClient(timeout=TIMEOUT_S, session=session)


def _unavailable(deed: str, error: stripe.StripeError) -> Unavailable:
    logger.warning("%s failed: %s (request %s)", deed, error, error.request_id)
    return Unavailable(_SILENT)


def _facts(session: stripe.checkout.Session) -> CheckoutSession:
    return CheckoutSession(
        id=session.id,
        reference=session.client_reference_id or "",
        is_paid=session.payment_status == "paid",
        is_expired=session.status == "expired",
        amount_cents=session.amount_total or 0,
        currency=session.currency or "",
        url=session.url,
        payment_intent_id=_id_of(session.payment_intent),
        customer_id=_id_of(session.customer),
    )


def _id_of(found: str | stripe.PaymentIntent | stripe.Customer | None) -> str | None:
    """Stripe sends an id, or the object where it was asked to expand it."""
    return found if found is None or isinstance(found, str) else found.id
