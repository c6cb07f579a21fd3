"""Stripe's balance transactions into the ledger: fees, and payouts to the bank."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing.actions.ledger import PostingDraft, post_entry
from billing.choices import AccountCode, EntryKind
from billing.gateways.records import Movement, movements_since
from billing.models import JournalEntry, PspTransaction
from portal.lib.money import from_cents

# Their amounts are posted by the payment, refund or dispute they belong to.
_POSTED_ELSEWHERE = frozenset(
    {"charge", "payment", "refund", "payment_refund", "refund_failure", "adjustment"}
)
_FEES = frozenset({"stripe_fee", "application_fee", "tax_fee"})
# The bank would not have it, or it was called off on its way.
_PAYOUT_BACK = frozenset({"payout_failure", "payout_cancel"})


def sync_movements(since: datetime) -> int:
    """`keep_movements` with all that moved at Stripe after `since`."""
    return keep_movements(list(movements_since(since)))


def keep_movements(found: Sequence[Movement]) -> int:
    """Take over movements of our balance, newest first; once each. Returns how many were new."""
    known = set(
        PspTransaction.objects.filter(stripe_id__in=[one.id for one in found]).values_list(
            "stripe_id", flat=True
        )
    )
    fresh = [one for one in reversed(found) if one.id not in known]
    for movement in fresh:
        _keep(movement)
    return len(fresh)


@transaction.atomic
def _keep(movement: Movement) -> None:
    PspTransaction.objects.get_or_create(
        stripe_id=movement.id,
        defaults={
            "type": movement.type,
            "source": movement.source,
            "amount_cents": movement.amount_cents,
            "fee_cents": movement.fee_cents,
            "net_cents": movement.net_cents,
            "currency": movement.currency,
            "created_at": movement.created_at,
            "entry": _post(movement),
        },
    )


def _post(movement: Movement) -> JournalEntry | None:
    """What the movement itself brings; None for what is posted already or is not understood.

    The latter shows as a break: our clearing account is off by it.
    """
    fee = movement.fee_cents
    if movement.type in _FEES:
        fee -= movement.amount_cents
    legs = [PostingDraft(AccountCode.PSP_FEES, from_cents(fee), movement.currency)]
    kind, reverses = EntryKind.FEE, None
    if movement.type in {"payout", *_PAYOUT_BACK}:
        kind = EntryKind.PAYOUT
        if movement.type in _PAYOUT_BACK:
            kind, reverses = EntryKind.PAYOUT_FAILED, _payout_of(movement)
        out = from_cents(-movement.amount_cents)
        legs.append(PostingDraft(AccountCode.BANK, out, movement.currency))
    elif movement.type not in _POSTED_ELSEWHERE | _FEES:
        return None
    legs = [leg for leg in legs if leg.amount_micros]
    if not legs:
        return None
    total = sum(leg.amount_micros for leg in legs)
    return post_entry(
        kind=kind,
        idempotency_key=f"psp:{movement.id}",
        effective_at=movement.created_at,
        postings=[*legs, PostingDraft(AccountCode.PSP_CLEARING, -total, movement.currency)],
        memo=f"{movement.type} {movement.source}".strip(),
        reverses=reverses,
    )


def _payout_of(movement: Movement) -> JournalEntry | None:
    """The payout that came back, where all of it did; fees stay with Stripe."""
    payout = PspTransaction.objects.filter(
        type="payout", source=movement.source, net_cents=-movement.net_cents, fee_cents=0
    ).first()
    return payout.entry if payout and not movement.fee_cents else None
