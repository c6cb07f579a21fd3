"""Gives back what was rated past the true end of an interval.

Rating runs while nobody knows yet that a workload has ended; once its end is known, the rest goes
back to where it came from. Nothing posted is touched: an entry of its own and new lots do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import code_of, debt_of, in_order, open_lot
from billing.choices import AccountCode, EntryKind, LotKind
from billing.models import (
    BillingAccount,
    CreditLot,
    JournalEntry,
    LotConsumption,
    Posting,
    UsageInterval,
)


@dataclass(slots=True)
class Source:
    """Where `left_micros` of the interval's usage was paid from; `kind` None is debt."""

    kind: LotKind | None
    left_micros: int
    expires_at: datetime | None = None


def give_back(
    account: BillingAccount,
    interval: UsageInterval,
    pieces: Sequence[tuple[str, datetime, int]],
) -> dict[str, int]:
    """Post one entry for each `(key, effective_at, amount_micros)`; returns entry ids by key."""
    sources = _sources(account, interval)
    entries: dict[str, int] = {}
    for key, effective_at, amount in pieces:
        if amount == 0:
            continue
        parts = _draw(sources, amount)
        entry = _post(account, interval, key, effective_at, parts)
        entries[key] = entry.pk
    return entries


def _sources(account: BillingAccount, interval: UsageInterval) -> list[Source]:
    """What paid for the interval, the last to be used first."""
    charged = Posting.objects.filter(
        entry__rated__interval=interval, account__code=AccountCode.ACCOUNTS_RECEIVABLE
    ).aggregate(total=Sum("amount_micros", default=0))["total"]
    still_owed = min(charged, debt_of(account))
    # Debt that was paid meanwhile was paid with money.
    sources = [Source(None, still_owed), Source(LotKind.PURCHASED, charged - still_owed)]
    used = dict(
        LotConsumption.objects.filter(entry__rated__interval=interval)
        .values("lot")
        .annotate(total=Sum("amount_micros"))
        .values_list("lot", "total")
    )
    lots = in_order(CreditLot.objects.filter(pk__in=used))
    sources += [Source(LotKind(lot.kind), used[lot.pk], lot.expires_at) for lot in reversed(lots)]
    return sources


def _draw(sources: Sequence[Source], amount: int) -> list[Source]:
    drawn: list[Source] = []
    for source in sources:
        part = min(source.left_micros, amount)
        if part:
            source.left_micros -= part
            amount -= part
            drawn.append(Source(source.kind, part, source.expires_at))
    if amount:
        raise ValueError(f"{amount} micro-units more would be given back than were charged")
    return drawn


def _post(
    account: BillingAccount,
    interval: UsageInterval,
    key: str,
    effective_at: datetime,
    parts: Sequence[Source],
) -> JournalEntry:
    legs = [
        PostingDraft(
            code_of(part.kind) if part.kind else AccountCode.ACCOUNTS_RECEIVABLE,
            -part.left_micros,
            account.currency,
            account.pk,
        )
        for part in parts
    ]
    total = sum(part.left_micros for part in parts)
    entry = post_entry(
        kind=EntryKind.REVERSAL,
        idempotency_key=key,
        effective_at=effective_at,
        postings=[PostingDraft(AccountCode.REVENUE_USAGE, total, account.currency), *legs],
        memo=f"{interval.resource_kind} {interval.resource_public_id} had ended before",
    )
    for part in parts:
        if part.kind:
            open_lot(
                account,
                entry,
                kind=part.kind,
                amount_micros=part.left_micros,
                expires_at=part.expires_at,
            )
    return entry
