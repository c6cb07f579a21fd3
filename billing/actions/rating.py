"""Posts what intervals have come to. The caller has locked the account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.actions.giveback import give_back
from billing.actions.ledger import EntryDraft, post_entries
from billing.actions.lots import Share, save_consumption, take, usable_lots, usage_postings
from billing.choices import EntryKind
from billing.models import BillingAccount, RatedUsage, UsageInterval
from billing.queries.accrual import accrued_micros
from billing.queries.periods import cuts
from portal.lib import clock
from portal.lib.rows import update_rows


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of an interval inside one month; it runs backwards where it gives back."""

    interval: UsageInterval
    start: datetime
    end: datetime
    amount_micros: int

    @property
    def key(self) -> str:
        """Names the slice for ever: posting it twice is posting it once."""
        return f"usage:{self.interval.pk}:{self.start.isoformat()}/{self.end.isoformat()}"


def slices_to(interval: UsageInterval, until: datetime) -> list[Slice]:
    """From where rating stands to `until`, cut at months.

    Each amount is the cumulative cost less what was billed before it, so that the sum is the
    same for every sequence of ticks.
    """
    if until == interval.rated_until:
        return []
    slices: list[Slice] = []
    billed = interval.billed_micros
    for start, end in cuts(interval.rated_until, until):
        owed = accrued_micros(interval, until=end)
        slices.append(Slice(interval, start, end, owed - billed))
        billed = owed
    return slices


def rate_open(account: BillingAccount, intervals: Sequence[UsageInterval], until: datetime) -> int:
    """Post what open intervals have come to by `until`; returns the number of slices posted.

    Time that is not worth a micro-unit yet is left for the next tick.
    """
    slices = [
        piece
        for interval in intervals
        if interval.rated_until < until
        and accrued_micros(interval, until=until) > interval.billed_micros
        for piece in slices_to(interval, until)
    ]
    return _post(account, slices)


def rate_closed(account: BillingAccount, interval: UsageInterval) -> None:
    """Bring a just closed interval to its true end, forwards or backwards."""
    assert interval.ended_at is not None  # noqa: S101  # the caller closed it
    slices = slices_to(interval, interval.ended_at)
    if interval.ended_at >= interval.rated_until:
        _post(account, slices)
        return
    entries = give_back(
        account, interval, [(piece.key, piece.end, -piece.amount_micros) for piece in slices]
    )
    _save(slices, entries)


def _post(account: BillingAccount, slices: Sequence[Slice]) -> int:
    if not slices:
        return 0
    lots = usable_lots(account, at=clock.now())
    drafts: list[EntryDraft] = []
    taken: list[Sequence[Share]] = []
    for piece in slices:
        if piece.amount_micros == 0:
            continue
        shares, uncovered = take(lots, piece.amount_micros)
        taken.append(shares)
        drafts.append(
            EntryDraft(
                kind=EntryKind.USAGE,
                idempotency_key=piece.key,
                effective_at=piece.start,
                postings=usage_postings(account, shares, uncovered),
                memo=f"{piece.interval.resource_kind} {piece.interval.resource_public_id}",
            )
        )
    entries = post_entries(drafts)
    save_consumption(list(zip(entries, taken, strict=True)))
    _save(slices, {entry.idempotency_key: entry.pk for entry in entries})
    return len(slices)


def _save(slices: Sequence[Slice], entries: dict[str, int]) -> None:
    RatedUsage.objects.bulk_create(
        RatedUsage(
            interval=piece.interval,
            segment_start=piece.start,
            segment_end=piece.end,
            amount_micros=piece.amount_micros,
            entry_id=entries.get(piece.key),
        )
        for piece in slices
    )
    moved: dict[int, UsageInterval] = {}
    for piece in slices:
        interval = moved.setdefault(piece.interval.pk, piece.interval)
        interval.rated_until = piece.end
        interval.billed_micros += piece.amount_micros
    update_rows(moved.values(), ["rated_until", "billed_micros"])
