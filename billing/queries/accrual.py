"""How an interval turns into money: the one place that knows."""

from __future__ import annotations

from datetime import datetime

from billing.models import UsageInterval
from portal.lib.money import cost_micros, duration_us, micros_per_hour


def used_us(interval: UsageInterval, *, until: datetime) -> int:
    """Microseconds used up to `until`, or to the end where that came first."""
    end = min(until, interval.ended_at) if interval.ended_at else until
    return duration_us(interval.started_at, end)


def accrued_micros(interval: UsageInterval, *, until: datetime) -> int:
    """What the interval has come to by `until`: `floor(price x quantity x time)`.

    Needs `interval.price` loaded.
    """
    price = interval.price
    used = used_us(interval, until=until)
    return cost_micros(price.unit_micros, interval.quantity, used, unit_hours=price.unit_hours)


def burn_micros_per_hour(interval: UsageInterval) -> int:
    """Micro-units per hour while it is open, rounded up."""
    if interval.ended_at is not None:
        return 0
    price = interval.price
    return micros_per_hour(price.unit_micros, interval.quantity, unit_hours=price.unit_hours)
