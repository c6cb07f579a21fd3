"""What was spent on which day, by what it is split by; as it was used, to the microsecond."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection
from django.db.models import TextChoices

from billing.models import BillingAccount
from billing.queries.periods import midnight_of
from portal.lib import clock
from portal.lib.money import MICROSECONDS_PER_HOUR


class SplitBy(TextChoices):
    """What a day's spending is split by."""

    PROJECT = "project", "Project"
    POOL = "pool", "Pool"
    MEMBER = "member", "Member"
    KIND = "kind", "What was used"


_KEYS = {
    SplitBy.PROJECT: "i.project",
    SplitBy.POOL: "i.pool",
    SplitBy.MEMBER: "coalesce((SELECT email FROM accounts_user u WHERE u.id = i.member_id), '')",
    SplitBy.KIND: "s.label",
}
_NOBODY = {
    SplitBy.PROJECT: "No project",
    SplitBy.POOL: "No pool",
    SplitBy.MEMBER: "Nobody",
    SplitBy.KIND: "Other",
}
# Each day's share is the cumulative cost at its end less that at its start: days add up exactly.
_SPEND = """
WITH used AS (
    SELECT i.started_at, i.quantity, p.unit_micros, p.unit_hours, {key} AS key,
        greatest(i.started_at, %(start)s) AS low,
        least(coalesce(i.ended_at, i.billable_until, %(now)s), %(now)s, %(end)s) AS high
    FROM billing_usageinterval i
    JOIN billing_price p ON p.id = i.price_id
    JOIN billing_sku s ON s.id = i.sku_id
    WHERE i.account_id = %(account)s AND i.started_at < %(end)s
        AND (i.ended_at IS NULL OR i.ended_at > %(start)s)
), cut AS (
    SELECT used.*, first, greatest(low, first) AS since, least(high, next) AS till
    FROM used CROSS JOIN LATERAL (
        SELECT day AT TIME ZONE 'UTC' AS first,
            (day + interval '1 day') AT TIME ZONE 'UTC' AS next FROM generate_series(
            date_trunc('day', low AT TIME ZONE 'UTC'), high AT TIME ZONE 'UTC', interval '1 day'
        ) AS day
    ) AS days
    WHERE high > low
)
SELECT (first AT TIME ZONE 'UTC')::date, key, sum({till} - {since})::bigint
FROM cut WHERE till > since GROUP BY 1, 2
UNION ALL
SELECT (c.created_at AT TIME ZONE 'UTC')::date, {key}, -sum(c.amount_micros)::bigint
FROM billing_usagecredit c
JOIN billing_usageinterval i ON i.id = c.interval_id
JOIN billing_sku s ON s.id = i.sku_id
WHERE c.account_id = %(account)s AND c.created_at >= %(start)s AND c.created_at < %(end)s
    AND c.amount_micros > 0
GROUP BY 1, 2
"""
_COST = (
    "div(unit_micros::numeric * quantity * round(1000000 * extract(epoch FROM {at} - started_at)), "
    "unit_hours::numeric * %(hour_us)s)"
)


@dataclass(frozen=True, slots=True)
class Spend:
    """Micro-units of each day and key; every day of the range is there."""

    days: tuple[date, ...]
    series: dict[str, tuple[int, ...]]

    @property
    def totals(self) -> list[tuple[str, int]]:
        """The sum of each key, the largest first."""
        sums = [(key, sum(values)) for key, values in self.series.items()]
        return sorted(sums, key=lambda pair: (-pair[1], pair[0]))

    @property
    def total_micros(self) -> int:
        """All of it."""
        return sum(sum(values) for values in self.series.values())

    @property
    def by_day(self) -> list[tuple[date, int]]:
        """The sum of each day."""
        return [
            (day, sum(values[number] for values in self.series.values()))
            for number, day in enumerate(self.days)
        ]


def spend(account: BillingAccount, first: date, last: date, *, by: SplitBy) -> Spend:
    """What was used from the beginning of `first` to the end of `last`, UTC, in one query.

    Less what was given back in that time for faults of ours, on the day it was.
    """
    values: dict[str, int | datetime] = {
        "account": account.pk,
        "start": midnight_of(first),
        "end": midnight_of(last + timedelta(days=1)),
        "now": clock.now(),
        "hour_us": MICROSECONDS_PER_HOUR,
    }
    sql = _SPEND.format(key=_KEYS[by], till=_COST.format(at="till"), since=_COST.format(at="since"))
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    days = tuple(first + timedelta(days=n) for n in range((last - first).days + 1))
    index = {day: number for number, day in enumerate(days)}
    series: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
    for day, key, micros in rows:
        series[key or _NOBODY[by]][index[day]] += micros
    return Spend(days, {key: tuple(values) for key, values in series.items()})
