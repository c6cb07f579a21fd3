"""What a team has: balance, held, available, burn, runway."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from accounts.models import Team
from billing.choices import AccountCode, FundsLevel
from billing.models import BillingAccount, CreditLot, Hold, LedgerAccount, UsageInterval
from billing.queries.accrual import accrued_micros, burn_micros_per_hour
from portal.lib import clock

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Funds:
    """Money in micro-units of `currency`, at one instant.

    `balance` is credit less debt less what has been used and not yet posted; `held` what is set
    aside beyond that; `available` the rest. `runway_seconds` is None while nothing burns.
    """

    currency: str
    balance_micros: int
    held_micros: int
    burn_micros_per_hour: int

    @property
    def available_micros(self) -> int:
        """What new work may be started with; may be negative."""
        return self.balance_micros - self.held_micros

    @property
    def runway_seconds(self) -> int | None:
        """How long the balance lasts at the present burn; 0 when it is used up."""
        if self.burn_micros_per_hour == 0:
            return None
        return max(0, self.balance_micros * HOUR // self.burn_micros_per_hour)

    @property
    def level(self) -> FundsLevel:
        """Warn under a day, bad under an hour; without burn only an empty balance counts."""
        runway = self.runway_seconds
        if self.balance_micros < 0 or (runway is not None and runway < HOUR):
            return FundsLevel.BAD
        if self.balance_micros == 0 or (runway is not None and runway < DAY):
            return FundsLevel.WARN
        return FundsLevel.OK


def funds_of(account: BillingAccount) -> Funds:
    """The funds of `account` now, in a fixed number of queries."""
    now = clock.now()
    credit = (
        CreditLot.objects.filter(account=account, remaining_micros__gt=0)
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
        .aggregate(total=Sum("remaining_micros", default=0))["total"]
    )
    debt = LedgerAccount.objects.filter(
        account=account, code=AccountCode.ACCOUNTS_RECEIVABLE
    ).aggregate(total=Sum("balance_micros", default=0))["total"]
    unposted = burn = 0
    used: dict[tuple[str, int], int] = defaultdict(int)
    for interval in _intervals(account):
        accrued = accrued_micros(interval, until=now)
        used[(interval.resource_kind, interval.resource_id)] += accrued
        if interval.ended_at is None:
            # Below zero where rating ran ahead of the clock that asks; it never adds credit.
            unposted += max(0, accrued - interval.billed_micros)
            burn += burn_micros_per_hour(interval)
    held = sum(
        max(0, amount - used[(kind, resource)])
        for kind, resource, amount in _open_holds(account).values_list(
            "resource_kind", "resource_id", "amount_micros"
        )
    )
    return Funds(account.currency, credit - debt - unposted, held, burn)


def funds_of_team(team: Team) -> Funds:
    """The funds of `team`; nothing for a team that has no billing account yet."""
    account = BillingAccount.objects.filter(team=team).first()
    return funds_of(account) if account else Funds("usd", 0, 0, 0)


def _open_holds(account: BillingAccount) -> QuerySet[Hold]:
    return Hold.objects.filter(account=account, released_at__isnull=True)


def _intervals(account: BillingAccount) -> QuerySet[UsageInterval]:
    """What is open, and what resources with an open hold used before."""
    held = _open_holds(account).filter(
        resource_kind=OuterRef("resource_kind"), resource_id=OuterRef("resource_id")
    )
    return (
        UsageInterval.objects.filter(account=account)
        .filter(Q(ended_at__isnull=True) | Exists(held))
        .select_related("price")
    )
