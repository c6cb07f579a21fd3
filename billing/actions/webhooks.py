"""Works off stored webhooks, in whatever order and however often they come."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import F, Q

from billing.actions.breaks import open_break
from billing.actions.cards import refresh_card, settle_card_setup
from billing.actions.disputes import settle_dispute_id
from billing.actions.payments import settle_intent, settle_session
from billing.actions.refunds import settle_refund_id
from billing.choices import BreakKind, WebhookStatus
from billing.models import CardSetup, Payment, WebhookEvent
from billing.queries.books import Difference
from portal.lib import clock
from portal.lib.errors import NotFound, PortalError

logger = logging.getLogger(__name__)
# A failed one is tried again for as long as Stripe itself would.
GIVE_UP_AFTER = timedelta(days=3)
LONGEST_WAIT_S = 3600
BATCH = 100

Handler = Callable[[Mapping[str, Any]], bool]


def _session(found: Mapping[str, Any]) -> bool:
    reference = str(found["client_reference_id"])
    if reference.startswith("cset_"):
        settle_card_setup(found["id"])
    elif reference.startswith("pay_"):
        settle_session(found["id"])
    else:
        return False
    return True


def _intent(found: Mapping[str, Any]) -> bool:
    if not str(found["metadata"].get("payment", "")).startswith("pay_"):
        return False
    settle_intent(found["id"])
    return True


def _refund(found: Mapping[str, Any]) -> bool:
    settle_refund_id(found["id"])
    return True


def _dispute(found: Mapping[str, Any]) -> bool:
    settle_dispute_id(found["id"])
    return True


def _card(found: Mapping[str, Any]) -> bool:
    return refresh_card(found["id"]) is not None


# Each is told which object changed and asks Stripe how it is now; False: it is none of ours.
HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "checkout.session.async_payment_failed": _session,
    "checkout.session.expired": _session,
    "payment_intent.succeeded": _intent,
    "payment_intent.payment_failed": _intent,
    "payment_intent.requires_action": _intent,
    "payment_intent.processing": _intent,
    "payment_intent.canceled": _intent,
    "payment_method.detached": _card,
    "payment_method.updated": _card,
    "payment_method.automatically_updated": _card,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
    "charge.dispute.closed": _dispute,
}


def names_unknown(event: WebhookEvent) -> bool:
    """Whether it carries a reference of ours that leads to nothing; such a one opens a break."""
    reference = _reference(event)
    if reference.startswith("pay_"):
        is_known = Payment.objects.filter(public_id=reference).exists()
    elif reference.startswith("cset_"):
        is_known = CardSetup.objects.filter(public_id=reference).exists()
    else:
        return False
    if not is_known:
        open_break(
            Difference(BreakKind.UNKNOWN_OBJECT, reference, "ours", f"named by {event.type}")
        )
    return not is_known


def _reference(event: WebhookEvent) -> str:
    try:
        found = json.loads(event.body)["data"]["object"]
        if found.get("object") == "checkout.session":
            return str(found["client_reference_id"])
        if found.get("object") == "payment_intent":
            return str(found["metadata"].get("payment", ""))
    except (LookupError, TypeError, AttributeError):
        return ""  # of another shape: processing says so
    return ""


def process_pending() -> int:
    """Work off what is new, and what failed and is due again; returns how many were tried."""
    now = clock.now()
    waiting = WebhookEvent.objects.filter(
        Q(status=WebhookStatus.RECEIVED) | Q(status=WebhookStatus.FAILED),
        received_at__gt=now - GIVE_UP_AFTER,
    ).order_by("received_at")
    due = [event for event in waiting[: BATCH * 10] if _is_due(event)][:BATCH]
    for event in due:
        process_event(event)
    return len(due)


def process_event(event: WebhookEvent) -> WebhookStatus:
    """Act on one event and note what became of it. Two at once do no harm: settling is once."""
    try:
        status, error = _act(event)
    except Exception as unexpected:
        # Nobody has thought of it: it must not hold up the others for ever.
        logger.exception("webhook %s (%s) failed", event.stripe_event_id, event.type)
        status, error = WebhookStatus.FAILED, f"{type(unexpected).__name__}: {unexpected}"
    if status == WebhookStatus.FAILED:
        logger.warning("webhook %s (%s) failed: %s", event.stripe_event_id, event.type, error)
    WebhookEvent.objects.filter(pk=event.pk).exclude(status=WebhookStatus.PROCESSED).update(
        status=status, error=error, attempts=F("attempts") + 1, processed_at=clock.now()
    )
    return status


def _is_due(event: WebhookEvent) -> bool:
    if event.processed_at is None:
        return True
    wait = min(2 ** min(event.attempts, 12), LONGEST_WAIT_S)
    return clock.now() >= event.processed_at + timedelta(seconds=wait)


def _act(event: WebhookEvent) -> tuple[WebhookStatus, str]:
    handler = HANDLERS.get(event.type)
    if handler is None:
        return WebhookStatus.IGNORED, ""
    try:
        if not handler(json.loads(event.body)["data"]["object"]):
            return WebhookStatus.IGNORED, "This was not started by us."
    except NotFound as error:
        # It looks like ours and we have no such thing: somebody has to look at it.
        return WebhookStatus.FAILED, error.message
    except PortalError as error:
        return WebhookStatus.FAILED, f"{error.code}: {error.message}"
    except (LookupError, TypeError, AttributeError) as error:
        return WebhookStatus.FAILED, f"The body is not shaped as it should be: {error!r}"
    return WebhookStatus.PROCESSED, ""
