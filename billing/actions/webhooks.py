"""Works off stored webhooks, in whatever order and however often they come."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from django.db.models import F, Q

from billing.actions.payments import settle_payment
from billing.choices import WebhookStatus
from billing.models import WebhookEvent
from portal.lib import clock
from portal.lib.errors import NotFound, PortalError

logger = logging.getLogger(__name__)
SETTLING = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
    }
)
# A failed one is tried again for as long as Stripe itself would.
GIVE_UP_AFTER = timedelta(days=3)
LONGEST_WAIT_S = 3600
BATCH = 100


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


def process_event(event: WebhookEvent) -> None:
    """Act on one event and note what became of it. Two at once do no harm: settling is once."""
    status, error = _act(event)
    if status == WebhookStatus.FAILED:
        logger.warning("webhook %s (%s) failed: %s", event.stripe_event_id, event.type, error)
    WebhookEvent.objects.filter(pk=event.pk).exclude(status=WebhookStatus.PROCESSED).update(
        status=status, error=error, attempts=F("attempts") + 1, processed_at=clock.now()
    )


def _is_due(event: WebhookEvent) -> bool:
    if event.processed_at is None:
        return True
    wait = min(2 ** min(event.attempts, 12), LONGEST_WAIT_S)
    return clock.now() >= event.processed_at + timedelta(seconds=wait)


def _act(event: WebhookEvent) -> tuple[WebhookStatus, str]:
    if event.type not in SETTLING:
        return WebhookStatus.IGNORED, ""
    try:
        session = json.loads(event.body)["data"]["object"]
        if not str(session["client_reference_id"]).startswith("pay_"):
            return WebhookStatus.IGNORED, "This checkout was not started by us."
        settle_payment(session["id"])
    except NotFound as error:
        # It looks like ours and we have no such payment: somebody has to look at it.
        return WebhookStatus.FAILED, error.message
    except PortalError as error:
        return WebhookStatus.FAILED, f"{error.code}: {error.message}"
    except (LookupError, TypeError) as error:
        return WebhookStatus.FAILED, f"The body is not shaped as it should be: {error!r}"
    return WebhookStatus.PROCESSED, ""
