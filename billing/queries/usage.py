"""What was used and what it came to; the same sums as rating posts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from billing.models import BillingAccount, UsageInterval
from billing.queries.accrual import accrued_micros, burn_micros_per_hour, used_us
from portal.lib import clock


@dataclass(frozen=True, slots=True)
class Part:
    """One interval inside a period: `quantity x price x time = amount`, micro-units."""

    attempt: int
    sku_label: str
    unit: str
    quantity: int
    micros_per_hour: int
    started_at: datetime
    ended_at: datetime | None
    microseconds: int
    amount_micros: int
    burn_micros_per_hour: int

    @property
    def seconds(self) -> float:
        """Time used, for people."""
        return self.microseconds / 1_000_000


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one resource used in a period, and the intervals that add up to it."""

    resource_kind: str
    resource_id: int
    public_id: str
    label: str
    parts: tuple[Part, ...]

    @property
    def amount_micros(self) -> int:
        """The sum of the parts."""
        return sum(part.amount_micros for part in self.parts)

    @property
    def microseconds(self) -> int:
        """The time of all parts."""
        return sum(part.microseconds for part in self.parts)

    @property
    def seconds(self) -> float:
        """The same, for people."""
        return self.microseconds / 1_000_000

    @property
    def quantity(self) -> int:
        """Units of the last part."""
        return self.parts[-1].quantity

    @property
    def micros_per_hour(self) -> int:
        """Price of one unit in the last part."""
        return self.parts[-1].micros_per_hour

    @property
    def burn_micros_per_hour(self) -> int:
        """Micro-units per hour now; 0 when it has ended."""
        return sum(part.burn_micros_per_hour for part in self.parts)

    @property
    def started_at(self) -> datetime:
        """When the first part began."""
        return self.parts[0].started_at

    @property
    def is_open(self) -> bool:
        """Whether it is being used now."""
        return any(part.ended_at is None for part in self.parts)


def cost_of(resource_kind: str, resource_ids: Collection[int]) -> dict[int, int]:
    """Micro-units each resource has come to by now, posted or not; 0 for those never used."""
    now = clock.now()
    costs = dict.fromkeys(resource_ids, 0)
    for interval in _intervals(resource_kind, resource_ids):
        costs[interval.resource_id] += accrued_micros(interval, until=now)
    return costs


def billed_us_of(resource_kind: str, resource_ids: Collection[int]) -> dict[int, int]:
    """Microseconds each resource is paid for by now, over all attempts."""
    now = clock.now()
    times = dict.fromkeys(resource_ids, 0)
    for interval in _intervals(resource_kind, resource_ids):
        times[interval.resource_id] += used_us(interval, until=now)
    return times


def intervals_of(resource_kind: str, resource_id: int) -> list[Part]:
    """The intervals of one resource, oldest first: why it costs what it costs."""
    now = clock.now()
    found = _intervals(resource_kind, [resource_id]).select_related("price", "sku")
    return [_part(interval, start=None, end=now) for interval in found.order_by("started_at")]


def usage_by_resource(
    account: BillingAccount, *, start: datetime, end: datetime
) -> list[UsageLine]:
    """One line a resource for what was used in `[start, end)` up to now, newest first."""
    until = min(end, clock.now())
    intervals = (
        UsageInterval.objects.filter(account=account, started_at__lt=end)
        .filter(Q(ended_at__isnull=True) | Q(ended_at__gt=start))
        .select_related("price", "sku")
        .order_by("started_at", "pk")
    )
    return _lines(intervals, start=start, end=until)


def _lines(
    intervals: Iterable[UsageInterval], *, start: datetime, end: datetime
) -> list[UsageLine]:
    grouped: dict[tuple[str, int], list[UsageInterval]] = defaultdict(list)
    for interval in intervals:
        grouped[(interval.resource_kind, interval.resource_id)].append(interval)
    lines = [
        UsageLine(
            resource_kind=kind,
            resource_id=resource_id,
            public_id=found[-1].resource_public_id,
            label=found[-1].resource_label,
            parts=tuple(_part(interval, start=start, end=end) for interval in found),
        )
        for (kind, resource_id), found in grouped.items()
    ]
    return sorted(lines, key=lambda line: line.started_at, reverse=True)


def _part(interval: UsageInterval, *, start: datetime | None, end: datetime) -> Part:
    """The interval cut to `[start, end)`: cumulative cost at the end less that at the start."""
    before_us = before = 0
    if start is not None:
        before_us = used_us(interval, until=start)
        before = accrued_micros(interval, until=start)
    return Part(
        attempt=interval.resource_attempt,
        sku_label=interval.sku.label,
        unit=interval.sku.unit,
        quantity=interval.quantity,
        micros_per_hour=interval.price.micros_per_hour,
        started_at=interval.started_at,
        ended_at=interval.ended_at,
        microseconds=used_us(interval, until=end) - before_us,
        amount_micros=accrued_micros(interval, until=end) - before,
        burn_micros_per_hour=burn_micros_per_hour(interval),
    )


def _intervals(resource_kind: str, resource_ids: Collection[int]) -> QuerySet[UsageInterval]:
    return UsageInterval.objects.filter(
        resource_kind=resource_kind, resource_id__in=resource_ids
    ).select_related("price")
