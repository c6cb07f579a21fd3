"""How an interval turns into money: the one place that knows.

The statements in `billing.queries.funds` and `billing.actions.rating` do the same in SQL.
"""

from __future__ import annotations

from datetime import datetime

from billing.models import UsageInterval
from portal.lib.money import cost_micros, duration_us, micros_per_hour


def used_us(interval: UsageInterval, *, until: datetime) -> int:
    """Microseconds used up to `until`, to the end, or to the last time that may be billed."""
    limits = (interval.ended_at, interval.billable_until)
    return duration_us(interval.started_at, min([until, *(limit for limit in limits if limit)]))


def accrued_micros(interval: UsageInterval, *, until: datetime) -> int:
    """What the interval has come to by `until`: `floor(price x quantity x time)`.

    Needs `interval.price` loaded.
    """
    return cost_of_us(interval, used_us(interval, until=until))


def cost_of_us(interval: UsageInterval, microseconds: int) -> int:
    """What the first `microseconds` of the interval cost, whether it lasted that long or not."""
    price = interval.price
    return cost_micros(
        price.unit_micros, interval.quantity, microseconds, unit_hours=price.unit_hours
    )


def burn_micros_per_hour(interval: UsageInterval, *, at: datetime) -> int:
    """Micro-units per hour at `at`, rounded up; 0 where it is charged no further."""
    limit = interval.billable_until
    if interval.ended_at is not None or (limit is not None and limit <= at):
        return 0
    price = interval.price
    return micros_per_hour(price.unit_micros, interval.quantity, unit_hours=price.unit_hours)
