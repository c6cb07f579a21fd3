"""Money back to the card it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import stripe

from billing.choices import RefundStatus
from billing.gateways.client import asking, client
from billing.gateways.facts import id_of, tag

_STATUS = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """A refund as Stripe has it now. `reference` is the public id of our Refund, if it has one."""

    id: str
    reference: str
    intent_id: str | None
    amount_cents: int
    currency: str
    status: RefundStatus
    failure: str


def create_refund(
    *, reference: str, intent_id: str, amount_cents: int, idempotency_key: str
) -> RefundFacts:
    """Send money back; the same key sends it once. Raises Refused where nothing was sent."""
    with asking("Refunding"):
        refund = client().v1.refunds.create(
            {
                "payment_intent": intent_id,
                "amount": amount_cents,
                "metadata": {"refund": reference},
            },
            {"idempotency_key": idempotency_key},
        )
    return _facts(refund)


def fetch_refund(refund_id: str) -> RefundFacts:
    """A refund as it is now. Raises NotFound where Stripe has none."""
    with asking("Reading a refund"):
        return _facts(client().v1.refunds.retrieve(refund_id))


def refunds_of(intent_id: str) -> list[RefundFacts]:
    """All refunds of a payment, newest first."""
    with asking("Listing refunds"):
        listed = client().v1.refunds.list({"payment_intent": intent_id, "limit": 100})
        return [_facts(refund) for refund in listed.auto_paging_iter()]


def refunds_since(since: datetime) -> Iterator[RefundFacts]:
    """All refunds made after `since`, newest first."""
    with asking("Listing refunds"):
        listed = client().v1.refunds.list(
            {"created": {"gte": int(since.timestamp())}, "limit": 100}
        )
        for refund in listed.auto_paging_iter():
            yield _facts(refund)


def _facts(refund: stripe.Refund) -> RefundFacts:
    return RefundFacts(
        id=refund.id,
        reference=tag(refund.metadata, "refund"),
        intent_id=id_of(refund.payment_intent),
        amount_cents=refund.amount,
        currency=refund.currency,
        status=_STATUS[refund.status or "pending"],
        failure=tag(refund, "failure_reason"),
    )
