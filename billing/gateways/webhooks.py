"""Takes in what Stripe sends: verified on the raw body, stored before it is looked at."""

from __future__ import annotations

import json
import re
from typing import Any

import stripe
from django.conf import settings

from billing.models import WebhookEvent
from portal.lib import clock
from portal.lib.errors import InvalidInput, Unavailable

TOLERANCE_S = 300
_ID = re.compile(r"evt_[A-Za-z0-9_]{1,90}")
_TYPE = re.compile(r"[a-z0-9_.]{1,80}")
_TIMESTAMP = re.compile(r"(?:^|,)t=(\d{1,12})(?:,|$)")


def receive(body: bytes, signature: str) -> WebhookEvent:
    """Store one delivery; a second one of the same event returns the first.

    Raises InvalidInput for a signature that is forged or more than five minutes off, or for a
    body that is no event; Unavailable where no secret is set.
    """
    text = _verified(body, signature)
    event: Any = json.loads(text)
    event_id = event.get("id") if isinstance(event, dict) else None
    kind = event.get("type") if isinstance(event, dict) else None
    if not (isinstance(event_id, str) and _ID.fullmatch(event_id)):
        raise InvalidInput("The body is not an event.")
    if not (isinstance(kind, str) and _TYPE.fullmatch(kind)):
        raise InvalidInput("The body is not an event.")
    return keep(event_id, kind, text)


def keep(event_id: str, kind: str, body: str) -> WebhookEvent:
    """Store an event that was fetched instead of delivered; one that is there already stays."""
    stored, _ = WebhookEvent.objects.get_or_create(
        stripe_event_id=event_id, defaults={"type": kind, "body": body}
    )
    return stored


def _verified(body: bytes, signature: str) -> str:
    secret = settings.STRIPE_WEBHOOK_SECRET
    if not secret:
        raise Unavailable("Webhooks are not set up here: set STRIPE_WEBHOOK_SECRET.")
    try:
        text = body.decode("utf-8")
        stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE_S)
        json.loads(text)
    except (stripe.SignatureVerificationError, ValueError) as error:
        raise InvalidInput("The signature does not fit the body.") from error
    # The client refuses only what is too old; a time far ahead would stay good for that long.
    stamp = _TIMESTAMP.search(signature)
    if stamp is None or int(stamp[1]) - clock.now().timestamp() > TOLERANCE_S:
        raise InvalidInput("The signature is of another time.")
    return text
