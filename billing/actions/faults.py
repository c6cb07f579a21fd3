"""Usage that a fault of ours cost is given back by itself. The caller has locked the account."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from billing.actions.giveback import give_back
from billing.choices import EntryKind
from billing.documents.words import spell_time
from billing.models import BillingAccount, RatedUsage, UsageCredit, UsageInterval
from billing.queries.accrual import used_us
from billing.queries.periods import period_of
from portal.lib import clock


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong on our side: a word for machines, and the beginning of a sentence."""

    reason: str
    words: str


def credit_fault(account: BillingAccount, interval: UsageInterval, fault: Fault) -> UsageCredit:
    """Give back all a closed and rated interval has come to; once, however often it is called.

    It goes back to where it was paid from, debt first, and counts in the present month, or in the
    first that is open.
    """
    known = UsageCredit.objects.filter(interval=interval).first()
    if known is not None:
        return known
    assert interval.ended_at is not None  # noqa: S101  # the caller closed it
    microseconds = used_us(interval, until=interval.ended_at)
    # The clock may have been set back into a month that is closed.
    now = max(clock.now(), account.closed_until or clock.now())
    credit = UsageCredit(
        account=account,
        interval=interval,
        reason=fault.reason,
        words=f"{fault.words}: {spell_time(microseconds)} are not billed.",
        microseconds=microseconds,
        amount_micros=interval.billed_micros,
        period_start=period_of(now)[0],
    )
    if interval.billed_micros:
        slices = RatedUsage.objects.filter(interval=interval)
        debt = slices.aggregate(total=Sum("debt_micros", default=0))["total"]
        slices.update(debt_micros=0)
        credit.entry = give_back(
            account,
            interval,
            EntryKind.SERVICE_CREDIT,
            key=f"service-credit:{interval.pk}",
            effective_at=now,
            amount_micros=interval.billed_micros,
            debt_micros=debt,
            memo=credit.words,
        )
    credit.save()
    return credit
