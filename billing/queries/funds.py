"""What a team has: balance, held, available, burn, runway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from accounts.models import Team
from billing.choices import AccountCode, FundsLevel
from billing.models import BillingAccount
from portal.lib import clock
from portal.lib.money import MICROSECONDS_PER_HOUR

HOUR = 3600
DAY = 24 * HOUR
_UNITS = ((DAY, "d"), (HOUR, "h"), (60, "min"))


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
    credit_limit_micros: int = 0

    @property
    def spendable_micros(self) -> int:
        """The balance, and how far a team that pays by invoice may go below it."""
        return self.balance_micros + self.credit_limit_micros

    @property
    def available_micros(self) -> int:
        """What new work may be started with; may be negative."""
        return self.spendable_micros - self.held_micros

    @property
    def runway_seconds(self) -> int | None:
        """How long what is spendable lasts at the present burn; 0 when it is used up."""
        if self.burn_micros_per_hour == 0:
            return None
        return max(0, self.spendable_micros * HOUR // self.burn_micros_per_hour)

    @property
    def level(self) -> FundsLevel:
        """Warn under a day, bad under an hour; without burn only an empty balance counts."""
        runway = self.runway_seconds
        if self.spendable_micros < 0 or (runway is not None and runway < HOUR):
            return FundsLevel.BAD
        if self.spendable_micros == 0 or (runway is not None and runway < DAY):
            return FundsLevel.WARN
        return FundsLevel.OK


# All at one instant and in one trip, because every launch asks. What runs is added up where it
# lies: a team may have thousands of open intervals. The cost of each is that of
# `portal.lib.money.cost_micros`, rounded down once.
_FUNDS = """
WITH held AS (
    SELECT resource_kind, resource_id, amount_micros FROM billing_hold
    WHERE account_id = %(account)s AND released_at IS NULL
), used AS (
    SELECT i.resource_kind, i.resource_id, i.billed_micros, i.ended_at IS NULL AS is_open,
        ceil(p.unit_micros::numeric * i.quantity / p.unit_hours) AS rate,
        div(
            p.unit_micros::numeric * i.quantity * greatest(0, round(1000000 * extract(
                epoch FROM least(i.ended_at, i.billable_until, %(now)s) - i.started_at
            ))),
            p.unit_hours * %(hour_us)s
        ) AS accrued
    FROM billing_usageinterval i JOIN billing_price p ON p.id = i.price_id
    WHERE i.account_id = %(account)s AND (i.ended_at IS NULL OR EXISTS (
        SELECT 1 FROM held h
        WHERE h.resource_kind = i.resource_kind AND h.resource_id = i.resource_id
    ))
)
SELECT
    (SELECT coalesce(sum(remaining_micros), 0) FROM billing_creditlot
        WHERE account_id = %(account)s AND remaining_micros > 0
        AND (expires_at IS NULL OR expires_at > %(now)s)),
    (SELECT coalesce(sum(balance_micros), 0) FROM billing_ledgeraccount
        WHERE account_id = %(account)s AND code = %(receivable)s),
    -- Below zero where rating ran ahead of the clock that asks; it never adds credit.
    (SELECT coalesce(sum(greatest(0, accrued - billed_micros)), 0) FROM used WHERE is_open),
    (SELECT coalesce(sum(rate), 0) FROM used WHERE is_open),
    (SELECT coalesce(sum(greatest(0, h.amount_micros - coalesce(u.accrued, 0))), 0) FROM held h
        LEFT JOIN (
            SELECT resource_kind, resource_id, sum(accrued) AS accrued FROM used GROUP BY 1, 2
        ) u USING (resource_kind, resource_id)),
    (SELECT credit_limit_micros FROM billing_billingaccount WHERE id = %(account)s)
"""


def funds_of(account: BillingAccount) -> Funds:
    """The funds of `account` now, in one query."""
    values: dict[str, int | str | datetime] = {
        "account": account.pk,
        "now": clock.now(),
        "hour_us": MICROSECONDS_PER_HOUR,
        "receivable": AccountCode.ACCOUNTS_RECEIVABLE.value,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FUNDS, values)
        credit, debt, unposted, burn, held, limit = map(int, cursor.fetchone())
    return Funds(account.currency, credit - debt - unposted, held, burn, limit)


def funds_of_team(team: Team) -> Funds:
    """The funds of `team`; nothing for a team that has no billing account yet."""
    account = BillingAccount.objects.filter(team=team).first()
    return funds_of(account) if account else Funds("usd", 0, 0, 0)


def runway_text(seconds: int | None) -> str:
    """`18 h`, `3 d`; a dash while nothing burns."""
    if seconds is None:
        return "\N{EN DASH}"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size:,} {unit}"
    return "under 2 min"
