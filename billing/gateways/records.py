"""What Stripe has on record: for reconciliation, and for disputes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import stripe

from billing.choices import DisputeStatus
from billing.gateways.client import asking, client
from billing.gateways.facts import PaymentFacts, id_of, intent_facts


@dataclass(frozen=True, slots=True)
class DisputeFacts:
    """A dispute as Stripe has it now."""

    id: str
    intent_id: str | None
    amount_cents: int
    currency: str
    reason: str
    status: DisputeStatus
    took_money: bool


@dataclass(frozen=True, slots=True)
class Movement:
    """One balance transaction, in cents."""

    id: str
    type: str
    source: str
    amount_cents: int
    fee_cents: int
    net_cents: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that Stripe could not deliver."""

    id: str
    type: str
    body: str


_DISPUTE = {"won": DisputeStatus.WON, "lost": DisputeStatus.LOST}


def fetch_dispute(dispute_id: str) -> DisputeFacts:
    """A dispute as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a dispute"):
        return _dispute(client().v1.disputes.retrieve(dispute_id))


def disputes_since(since: datetime) -> Iterator[DisputeFacts]:
    """All disputes opened after `since`, newest first."""
    with asking("Listing disputes"):
        listed = client().v1.disputes.list(
            {"created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        for dispute in listed.auto_paging_iter():
            yield _dispute(dispute)


def intents_since(since: datetime) -> Iterator[PaymentFacts]:
    """All payments made after `since`, newest first."""
    with asking("Listing payments"):
        listed = client().v1.payment_intents.list(
            {"created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        for intent in listed.auto_paging_iter():
            yield intent_facts(intent)


def movements_since(since: datetime) -> Iterator[Movement]:
    """All movements of our balance after `since`, newest first."""
    with asking("Listing balance transactions"):
        listed = client().v1.balance_transactions.list(
            {"created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        for found in listed.auto_paging_iter():
            yield Movement(
                id=found.id,
                type=found.type,
                source=id_of(found.source) or "",
                amount_cents=found.amount,
                fee_cents=found.fee,
                net_cents=found.net,
                currency=found.currency,
                created_at=datetime.fromtimestamp(found.created, UTC),
            )


def balance_cents() -> dict[str, int]:
    """What we have at Stripe, available or pending, by currency."""
    with asking("Reading the balance"):
        balance = client().v1.balance.retrieve()
    sums: dict[str, int] = defaultdict(int)
    for available in balance.available:
        sums[available.currency] += available.amount
    for pending in balance.pending:
        sums[pending.currency] += pending.amount
    return sums


def undelivered_events(since: datetime) -> Iterator[StoredEvent]:
    """Events after `since` that no endpoint of ours has acknowledged, newest first."""
    with asking("Listing events"):
        listed = client().v1.events.list(
            {
                "created": {"gte": int(since.timestamp())},
                "delivery_success": False,
                "limit": 100,
            }
        )
        for event in listed.auto_paging_iter():
            yield StoredEvent(event.id, event.type, json.dumps(event.to_dict(), default=str))


def _dispute(dispute: stripe.Dispute) -> DisputeFacts:
    if dispute.status.startswith("warning_"):
        status = DisputeStatus.INQUIRY
    else:
        status = _DISPUTE.get(dispute.status, DisputeStatus.OPEN)
    return DisputeFacts(
        id=dispute.id,
        intent_id=id_of(dispute.payment_intent),
        amount_cents=dispute.amount,
        currency=dispute.currency,
        reason=dispute.reason,
        status=status,
        took_money=bool(dispute.balance_transactions),
    )
