"""Stripe's balance transactions into the ledger: fees, and payouts to the bank."""

from __future__ import annotations

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


def sync_movements(since: datetime) -> int:
    """Take over what moved after `since`; once each. Returns how many were new."""
    found = list(movements_since(since))
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
    kind = EntryKind.FEE
    if movement.type == "payout":
        kind = EntryKind.PAYOUT
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
    )
