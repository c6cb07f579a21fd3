"""Our books against Stripe's and against each other: mends what can be mended, shows the rest."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Sum

from billing.actions.breaks import close_unseen, open_break
from billing.actions.disputes import settle_dispute
from billing.actions.payments import settle_payment
from billing.actions.psp_sync import sync_movements
from billing.actions.refunds import settle_refund
from billing.actions.webhooks import GIVE_UP_AFTER, process_event
from billing.choices import AccountCode, BreakKind, PaymentStatus, WebhookStatus
from billing.gateways.records import (
    balance_cents,
    disputes_since,
    intents_since,
    undelivered_events,
)
from billing.gateways.refunds import refunds_since
from billing.gateways.webhooks import keep
from billing.models import LedgerAccount, Payment, ReconciliationRun, WebhookEvent
from billing.queries.books import Difference, differences
from billing.queries.refunds import on_their_way_cents
from portal.lib import clock
from portal.lib.errors import Conflict, NotFound, PortalError, Unavailable
from portal.lib.money import MICROS_PER_CENT

logger = logging.getLogger(__name__)
# Looked at again each time: what Stripe changes late, such as a refund that fails after days.
OVERLAP = timedelta(days=10)
FIRST_LOOK = timedelta(days=35)
# What a webhook of this moment is still on its way for is no difference yet.
SETTLING = timedelta(minutes=10)


def reconcile() -> ReconciliationRun:
    """Compare everything once. Two at the same time find the same.

    A run that Stripe did not answer says so in `error`; breaks stay as they were then. Must not
    be called inside a transaction.
    """
    run = ReconciliationRun.objects.create(started_at=clock.now())
    try:
        run.checked = _with_stripe(_since(run)) | _with_ourselves()
    except Unavailable as error:
        run.error = error.message
    else:
        close_unseen(list(BreakKind), since=run.started_at)
    run.finished_at = clock.now()
    run.save()
    return run


def _since(run: ReconciliationRun) -> datetime:
    last = (
        ReconciliationRun.objects.filter(finished_at__isnull=False, error="")
        .order_by("-started_at")
        .first()
    )
    return last.started_at - OVERLAP if last else run.started_at - FIRST_LOOK


def _with_stripe(since: datetime) -> dict[str, int]:
    checked = _take_over(since)
    off = _clearing()
    if off:
        # Something may have moved while we read.
        checked = _take_over(since)
        off = _clearing()
    for difference in off:
        open_break(difference)
    return checked


def _take_over(since: datetime) -> dict[str, int]:
    return {
        "events": _events(),
        "payments": _payments(since),
        "refunds": _refunds(since),
        "disputes": _disputes(since),
        "movements": sync_movements(since),
    }


def _with_ourselves() -> dict[str, int]:
    found = list(differences())
    for difference in found:
        open_break(difference)
    return {"differences": len(found), "webhooks": _stuck_webhooks()}


def _events() -> int:
    """Work off what was never delivered."""
    seen = 0
    for event in undelivered_events(clock.now() - GIVE_UP_AFTER):
        seen += 1
        stored = keep(event.id, event.type, event.body)
        if stored.status in {WebhookStatus.RECEIVED, WebhookStatus.FAILED}:
            process_event(stored)
    return seen


def _payments(since: datetime) -> int:
    """I14: what Stripe was paid is credited, and what is credited was paid."""
    paid: set[str] = set()
    seen = 0
    for facts in intents_since(since):
        if not facts.reference.startswith("pay_"):
            continue
        seen += 1
        if facts.status == PaymentStatus.SUCCEEDED:
            paid.add(facts.intent_id or "")
        try:
            settle_payment(facts)
        except NotFound:
            if facts.status == PaymentStatus.SUCCEEDED:
                _found(BreakKind.PAYMENT_MISSING, facts.reference, "a payment", "none")
        except Conflict as error:
            _found(BreakKind.PAYMENT_UNCREDITED, facts.reference, "credit", error.message)
    ours = Payment.objects.filter(status=PaymentStatus.SUCCEEDED, created_at__gte=since)
    for public_id, intent_id in ours.values_list("public_id", "payment_intent_id"):
        if intent_id not in paid:
            _found(BreakKind.PAYMENT_UNPAID, public_id, f"{intent_id} paid", "not paid at Stripe")
    return seen


def _refunds(since: datetime) -> int:
    seen = 0
    # The oldest first: one that failed makes room for the next.
    for facts in reversed(list(refunds_since(since))):
        if not Payment.objects.filter(payment_intent_id=facts.intent_id).exists():
            continue
        seen += 1
        try:
            settle_refund(facts)
        except PortalError as error:
            _found(BreakKind.REFUND_MISMATCH, facts.id, str(facts.amount_cents), error.message)
    return seen


def _disputes(since: datetime) -> int:
    seen = 0
    for facts in disputes_since(since):
        if not Payment.objects.filter(payment_intent_id=facts.intent_id).exists():
            continue
        seen += 1
        try:
            settle_dispute(facts)
        except PortalError as error:
            _found(BreakKind.DISPUTE_MISMATCH, facts.id, facts.status.value, error.message)
    return seen


def _clearing() -> list[Difference]:
    """I17: what the ledger says is at Stripe is what Stripe says, to the cent.

    Stripe takes a refund's money when it is asked for, the ledger when it is paid out.
    """
    theirs = balance_cents()
    for currency, cents in on_their_way_cents().items():
        theirs[currency] = theirs.get(currency, 0) + cents
    ours = dict(
        LedgerAccount.objects.filter(code=AccountCode.PSP_CLEARING)
        .values("currency")
        .annotate(total=Sum("balance_micros"))
        .values_list("currency", "total")
    )
    pairs = {
        currency: (theirs.get(currency, 0) * MICROS_PER_CENT, ours.get(currency, 0))
        for currency in sorted({*theirs, *ours})
    }
    return [
        Difference(BreakKind.CLEARING, currency, str(there), str(here))
        for currency, (there, here) in pairs.items()
        if there != here
    ]


def _stuck_webhooks() -> int:
    stuck = WebhookEvent.objects.filter(
        status__in=[WebhookStatus.FAILED, WebhookStatus.RECEIVED],
        received_at__lt=clock.now() - SETTLING,
    )
    for event in stuck.order_by("pk")[:1000]:
        _found(BreakKind.STUCK_WEBHOOK, event.stripe_event_id, "processed", event.error or "never")
    return stuck.count()


def _found(kind: BreakKind, subject: str, expected: str, actual: str) -> None:
    open_break(Difference(kind, subject, expected, actual))
