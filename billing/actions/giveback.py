"""Gives usage back to where it was paid from. The caller has locked the account.

Rating runs while nobody knows yet that a workload has ended, and what a fault of ours cost is known
only after it. Nothing posted is touched: entries of their own give back, debt first, then to the
lots that were used last, so that the account stands as if the usage had never been.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from django.db.models import F, Sum

from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import code_of, debt_of, in_order, open_lot
from billing.choices import USAGE_KINDS, AccountCode, EntryKind, LotKind
from billing.models import (
    BillingAccount,
    CreditLot,
    JournalEntry,
    LotConsumption,
    RatedUsage,
    UsageInterval,
)
from billing.queries.accrual import accrued_micros, cost_of_us
from billing.queries.periods import period_of
from portal.lib import clock
from portal.lib.money import duration_us
from portal.lib.rows import update_rows


def give_back_time(account: BillingAccount, interval: UsageInterval) -> None:
    """Bring a closed interval that was rated past its end back to it.

    Slices of open months get shorter; what lies in closed ones is given back in this month.
    """
    assert interval.ended_at is not None  # noqa: S101  # the caller closed it
    month = period_of(clock.now())[0]
    cuts: dict[datetime, tuple[int, int]] = defaultdict(lambda: (0, 0))
    changed, backwards = [], []
    slices = RatedUsage.objects.filter(
        interval=interval, is_back=False, segment_end__gt=interval.ended_at
    )
    for piece in slices.order_by("segment_start"):
        end = max(interval.ended_at, piece.segment_start)
        amount = _cost_at(interval, piece.segment_end) - _cost_at(interval, end)
        debt = min(amount, piece.debt_micros)
        period = piece.period_start
        piece.debt_micros -= debt
        if account.closed_until and period_of(period)[1] <= account.closed_until:
            period = max(month, account.closed_until)
            backwards.append(_backwards(piece, period, end, amount))
        else:
            piece.segment_end = end
            piece.amount_micros -= amount
        changed.append(piece)
        cuts[period] = (cuts[period][0] + amount, cuts[period][1] + debt)
    for period, (amount, debt) in sorted(cuts.items()):
        if amount:
            give_back(
                account,
                interval,
                EntryKind.REVERSAL,
                key=f"usage-back:{interval.pk}:{period:%Y-%m}",
                effective_at=max(interval.ended_at, period),
                amount_micros=amount,
                debt_micros=debt,
                memo=f"{interval.resource_kind} {interval.resource_public_id} had ended before",
            )
    update_rows(changed, ["segment_end", "amount_micros", "debt_micros"])
    RatedUsage.objects.bulk_create(backwards)
    interval.rated_until = interval.ended_at
    interval.billed_micros = accrued_micros(interval, until=interval.ended_at)
    interval.save(update_fields=["rated_until", "billed_micros"])


def _cost_at(interval: UsageInterval, at: datetime) -> int:
    return cost_of_us(interval, duration_us(interval.started_at, at))


def _backwards(piece: RatedUsage, period: datetime, end: datetime, amount: int) -> RatedUsage:
    return RatedUsage(
        account_id=piece.account_id,
        interval_id=piece.interval_id,
        period_start=period,
        segment_start=piece.segment_end,
        segment_end=end,
        amount_micros=-amount,
        is_back=True,
    )


def give_back(
    account: BillingAccount,
    interval: UsageInterval,
    kind: EntryKind,
    *,
    key: str,
    effective_at: datetime,
    amount_micros: int,
    debt_micros: int,
    memo: str,
) -> JournalEntry:
    """Post that `amount_micros` of an interval, of which `debt_micros` was charged as debt, are
    undone; the caller takes that debt off its slices.

    What the account owes comes first, whatever it is owed for. Debt that was paid meanwhile was
    paid with money: it comes back as bought credit. Raises ValueError where more would be given
    back than usage has taken.
    """
    forgiven = min(amount_micros, debt_of(account))
    refunded = max(0, debt_micros - forgiven)
    returns = _last_used(account, amount_micros - forgiven - refunded)
    _forgive_others(account, interval, forgiven - debt_micros)
    amounts: dict[AccountCode, int] = defaultdict(int)
    amounts[AccountCode.ACCOUNTS_RECEIVABLE] += forgiven
    amounts[AccountCode.CUSTOMER_CREDIT] += refunded
    for lot, part in returns:
        amounts[code_of(lot.kind)] += part
    legs = [
        PostingDraft(code, -amount, account.currency, account.pk)
        for code, amount in amounts.items()
        if amount
    ]
    revenue = PostingDraft(AccountCode.REVENUE_USAGE, amount_micros, account.currency)
    entry = post_entry(
        kind=kind,
        idempotency_key=key,
        effective_at=effective_at,
        postings=[revenue, *legs],
        memo=memo,
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=refunded)
    for lot, part in returns:
        lot.remaining_micros += part
    update_rows([lot for lot, _ in returns], ["remaining_micros"])
    LotConsumption.objects.bulk_create(
        LotConsumption(lot=lot, entry=entry, amount_micros=-part) for lot, part in returns
    )
    return entry


def _forgive_others(account: BillingAccount, interval: UsageInterval, amount_micros: int) -> None:
    """Debt of other intervals is forgiven for this one: theirs is what the credit now covers."""
    if amount_micros <= 0:
        return
    changed = []
    others = RatedUsage.objects.filter(account=account, debt_micros__gt=0)
    for piece in others.exclude(interval=interval).order_by("-period_start", "-pk").iterator():
        part = min(amount_micros, piece.debt_micros)
        piece.debt_micros -= part
        amount_micros -= part
        changed.append(piece)
        if not amount_micros:
            break
    update_rows(changed, ["debt_micros"])


def _last_used(account: BillingAccount, amount_micros: int) -> list[tuple[CreditLot, int]]:
    """The lots that usage took `amount_micros` from last, and how much of it from each."""
    found: list[tuple[CreditLot, int]] = []
    lots = CreditLot.objects.select_for_update(no_key=True).filter(
        account=account, remaining_micros__lt=F("amount_micros")
    )
    for lot in reversed(in_order(lots)):
        if not amount_micros:
            break
        used = LotConsumption.objects.filter(lot=lot, entry__kind__in=USAGE_KINDS).aggregate(
            total=Sum("amount_micros", default=0)
        )["total"]
        part = min(amount_micros, used, lot.amount_micros - lot.remaining_micros)
        if part > 0:
            amount_micros -= part
            found.append((lot, part))
    if amount_micros:
        raise ValueError(f"{amount_micros} micro-units more would be given back than were charged")
    return found
