"""What must be true of the books at any quiet moment."""

from __future__ import annotations

from collections import Counter

from django.db.models import QuerySet, Sum

from billing.choices import USAGE_KINDS, AccountCode
from billing.models import (
    BillingAccount,
    CreditLot,
    JournalEntry,
    LedgerAccount,
    LotConsumption,
    Posting,
    RatedUsage,
    UsageCredit,
    UsageInterval,
)
from portal.lib.money import cost_micros, duration_us


def assert_books(account: BillingAccount) -> None:
    """I1, I3, I6, I7, I11 and I16 of the ledger's invariants."""
    assert_journal(account)
    assert_usage(account)


def assert_journal(account: BillingAccount) -> None:
    """Of the journal and the lots alone: I1, I3, I6 and I16."""
    for row in Posting.objects.values("currency").annotate(total=Sum("amount_micros")):
        assert row["total"] == 0
    for line in LedgerAccount.objects.annotate(posted=Sum("postings__amount_micros", default=0)):
        assert line.balance_micros == line.posted, line.code
    lots = CreditLot.objects.filter(account=account).aggregate(
        total=Sum("remaining_micros", default=0)
    )["total"]
    assert (
        -(
            balance(account, AccountCode.CUSTOMER_CREDIT)
            + balance(account, AccountCode.PROMO_CREDIT)
        )
        == lots
    )
    for lot in CreditLot.objects.filter(account=account):
        used = LotConsumption.objects.filter(lot=lot).aggregate(
            total=Sum("amount_micros", default=0)
        )["total"]
        assert lot.remaining_micros == lot.amount_micros - used


def assert_usage(account: BillingAccount) -> None:
    """What is rated, what is billed and what the ledger says of usage are one number."""
    for interval in UsageInterval.objects.filter(account=account).select_related("price"):
        rated = RatedUsage.objects.filter(interval=interval).aggregate(
            total=Sum("amount_micros", default=0)
        )["total"]
        assert rated == interval.billed_micros
        if interval.ended_at is not None:
            used = duration_us(interval.started_at, interval.ended_at)
            price = interval.price
            owed = cost_micros(
                price.unit_micros, interval.quantity, used, unit_hours=price.unit_hours
            )
            assert interval.billed_micros == owed
    posted = sum(leg.amount_micros for leg in _revenue_of(account))
    billed = UsageInterval.objects.filter(account=account).aggregate(
        total=Sum("billed_micros", default=0)
    )["total"]
    credited = UsageCredit.objects.filter(account=account).aggregate(
        total=Sum("amount_micros", default=0)
    )["total"]
    assert -posted == billed - credited
    assert_months(account)


def assert_months(account: BillingAccount) -> None:
    """I11: what is rated in a month, less what is credited in it, is what it earned."""
    months: Counter[str] = Counter()
    for piece in RatedUsage.objects.filter(account=account):
        months[f"{piece.period_start:%Y-%m}"] += piece.amount_micros
    for credit in UsageCredit.objects.filter(account=account):
        months[f"{credit.period_start:%Y-%m}"] -= credit.amount_micros
    for leg in _revenue_of(account):
        months[f"{leg.entry.effective_at:%Y-%m}"] += leg.amount_micros
    assert not {month: amount for month, amount in months.items() if amount}


def _revenue_of(account: BillingAccount) -> QuerySet[Posting]:
    entries = JournalEntry.objects.filter(kind__in=USAGE_KINDS, postings__account__account=account)
    return Posting.objects.filter(
        account__code=AccountCode.REVENUE_USAGE, entry__in=entries
    ).select_related("entry")


def balance(account: BillingAccount, code: AccountCode) -> int:
    """The cached balance of one of the team's lines, debit positive."""
    lines = LedgerAccount.objects.filter(account=account, code=code)
    return sum(lines.values_list("balance_micros", flat=True))
