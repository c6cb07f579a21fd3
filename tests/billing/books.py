"""What must be true of the books at any quiet moment."""

from __future__ import annotations

from django.db.models import Sum

from billing.choices import AccountCode, EntryKind
from billing.models import (
    BillingAccount,
    CreditLot,
    LedgerAccount,
    LotConsumption,
    Posting,
    RatedUsage,
    UsageInterval,
)
from portal.lib.money import cost_micros, duration_us


def assert_books(account: BillingAccount) -> None:
    """I1, I3, I6, I11 and I16 of the ledger's invariants."""
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
    assert_usage(account)


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
    posted = Posting.objects.filter(
        account__code=AccountCode.REVENUE_USAGE,
        entry__kind__in=[EntryKind.USAGE, EntryKind.REVERSAL],
        entry__rated__interval__account=account,
    ).aggregate(total=Sum("amount_micros", default=0))["total"]
    billed = UsageInterval.objects.filter(account=account).aggregate(
        total=Sum("billed_micros", default=0)
    )["total"]
    assert -posted == billed


def balance(account: BillingAccount, code: AccountCode) -> int:
    """The cached balance of one of the team's lines, debit positive."""
    lines = LedgerAccount.objects.filter(account=account, code=code)
    return sum(lines.values_list("balance_micros", flat=True))
