"""The `stripe` client as the settings have it, and its errors as ours.

Nothing of the gateway may be called inside a transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import urlsplit

import requests
import stripe
from django.conf import settings
from django.db import transaction

from portal.lib.errors import Conflict, NotFound, Unavailable

logger = logging.getLogger(__name__)
TIMEOUT_S = 10.0
RETRIES = 2
_SILENT = "The payment provider does not answer. Try again in a minute; nothing is charged twice."


class Refused(Conflict):
    """Stripe understood and said no: the same request would be refused again."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.refusal_code = code


def client() -> stripe.StripeClient:
    """Raises Unavailable where no key is set; RuntimeError inside a transaction."""
    with transaction.atomic(durable=True):
        pass  # a durable block refuses to be nested: nobody waits for Stripe with rows locked
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)


@contextmanager
def asking(deed: str) -> Iterator[None]:
    """Draws Stripe's errors as ours.

    NotFound and Refused are final. Unavailable says nothing of what Stripe did: ask again with the
    same key. Card errors pass, because what they carry belongs to the caller.
    """
    try:
        yield
    except stripe.CardError:
        raise
    except stripe.IdempotencyError as error:
        if error.http_status == 409:
            raise _unavailable(deed, error) from error
        raise Refused(f"{deed} was refused: {error.user_message}", code="idempotency") from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 409:
            raise _unavailable(deed, error) from error
        if error.code == "resource_missing":
            raise NotFound("The payment provider knows no such thing.") from error
        message = error.user_message or str(error)
        raise Refused(f"{deed} was refused: {message}", code=error.code or "") from error
    except stripe.StripeError as error:
        raise _unavailable(deed, error) from error


def _unavailable(deed: str, error: stripe.StripeError) -> Unavailable:
    logger.warning("%s failed: %s (request %s)", deed, error, error.request_id)
    return Unavailable(_SILENT)


@lru_cache(maxsize=4)
def _client(api_key: str, api_base: str) -> stripe.StripeClient:
    if not api_key:
        raise Unavailable(
            "Payments are not set up here: the operator has to set STRIPE_SECRET_KEY."
        )
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_base} if api_base else None,
        http_client=_http_client(api_base),
        max_network_retries=RETRIES,
    )


def _http_client(api_base: str) -> stripe.RequestsClient:
    session = None
    if urlsplit(api_base).hostname in {"127.0.0.1", "localhost", "::1"}:
        # A proxy named by the environment leads out, never to our own sandbox.
        session = requests.Session()
        session.trust_env = False
    return stripe.RequestsClient(timeout=TIMEOUT_S, session=session)
