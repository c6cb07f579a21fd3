"""What was used and what it came to; the same sums as rating posts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Q, QuerySet, Sum

from billing.models import BillingAccount, RatedUsage, UsageCredit, UsageInterval
from billing.queries.accrual import accrued_micros, burn_micros_per_hour, used_us
from billing.queries.periods import period_of
from billing.queries.use import Use, use_of
from portal.lib import clock
from portal.lib.money import micros_per_hour


@dataclass(frozen=True, slots=True)
class Credit:
    """What of an interval is not billed, in micro-units, and why: a fault of ours, in words."""

    words: str
    microseconds: int
    amount_micros: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """One interval inside a period: `quantity x price x time = amount`, micro-units.

    The price is `unit_micros` in `unit_hours` hours. What was given back of it is in `credit`, a
    line of its own: `amount_micros` stays what the time cost.
    """

    attempt: int
    sku_label: str
    unit: str
    quantity: int
    unit_micros: int
    unit_hours: int
    started_at: datetime
    ended_at: datetime | None
    microseconds: int
    amount_micros: int
    burn_micros_per_hour: int
    credit: Credit | None = None
    use: Use | None = None

    @property
    def seconds(self) -> float:
        """Time used, for people."""
        return self.microseconds / 1_000_000

    @property
    def micros_per_hour(self) -> int:
        """Price of one unit an hour, rounded up."""
        return micros_per_hour(self.unit_micros, unit_hours=self.unit_hours)

    @property
    def net_micros(self) -> int:
        """What is paid for it: the amount less what was given back."""
        return self.amount_micros - (self.credit.amount_micros if self.credit else 0)

    @property
    def billed_us(self) -> int:
        """Microseconds that are paid for."""
        return self.microseconds - (self.credit.microseconds if self.credit else 0)


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
        """What is paid for the parts: the sum of them less what was given back."""
        return sum(part.net_micros for part in self.parts)

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
        if hasattr(interval, "usage_credit"):
            costs[interval.resource_id] -= interval.usage_credit.amount_micros
    return costs


def burn_of(resource_kind: str, resource_ids: Collection[int]) -> dict[int, int]:
    """Micro-units per hour that what runs costs now; without those that cost nothing now."""
    now = clock.now()
    burns: dict[int, int] = defaultdict(int)
    for interval in _intervals(resource_kind, resource_ids).filter(ended_at__isnull=True):
        burns[interval.resource_id] += burn_micros_per_hour(interval, at=now)
    return burns


def billed_us_of(resource_kind: str, resource_ids: Collection[int]) -> dict[int, int]:
    """Microseconds each resource is paid for by now, over all attempts."""
    now = clock.now()
    times = dict.fromkeys(resource_ids, 0)
    for interval in _intervals(resource_kind, resource_ids):
        times[interval.resource_id] += used_us(interval, until=now)
        if hasattr(interval, "usage_credit"):
            times[interval.resource_id] -= interval.usage_credit.microseconds
    return times


def intervals_of(resource_kind: str, resource_id: int) -> list[Part]:
    """The intervals of one resource, oldest first: why it costs what it costs."""
    now = clock.now()
    found = _intervals(resource_kind, [resource_id]).select_related("sku")
    return [_part(interval, start=None, end=now) for interval in found.order_by("started_at")]


def usage_by_resource(
    account: BillingAccount, *, start: datetime, end: datetime
) -> list[UsageLine]:
    """One line a resource for what was used in `[start, end)` up to now, newest first.

    What was given back in that time counts too, whenever it had been used.
    """
    until = min(end, clock.now())
    used = Q(started_at__lt=end) & (Q(ended_at__isnull=True) | Q(ended_at__gt=start))
    credited = Q(usage_credit__created_at__gte=start, usage_credit__created_at__lt=end)
    intervals = (
        UsageInterval.objects.filter(used | credited, account=account)
        .select_related("price", "sku", "usage_credit")
        .order_by("started_at", "pk")
    )
    return _lines(intervals, start=start, end=until)


def usage_line_of(resource_kind: str, resource_id: int) -> UsageLine:
    """Everything a resource ever used, up to now; it has used something."""
    now = clock.now()
    found = list(
        _intervals(resource_kind, [resource_id]).select_related("sku").order_by("started_at", "pk")
    )
    uses = use_of(found)
    parts = [
        replace(_part(interval, start=None, end=now), use=uses.get(interval.pk))
        for interval in found
    ]
    return UsageLine(
        resource_kind=resource_kind,
        resource_id=resource_id,
        public_id=found[-1].resource_public_id,
        label=found[-1].resource_label,
        parts=tuple(parts),
    )


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
        unit_micros=interval.price.unit_micros,
        unit_hours=interval.price.unit_hours,
        started_at=interval.started_at,
        ended_at=interval.ended_at,
        microseconds=used_us(interval, until=end) - before_us,
        amount_micros=accrued_micros(interval, until=end) - before,
        burn_micros_per_hour=burn_micros_per_hour(interval, at=end),
        credit=_credit_of(interval, start=start, end=end),
    )


def _credit_of(interval: UsageInterval, *, start: datetime | None, end: datetime) -> Credit | None:
    """What was given back of it in `[start, end]`; of now is in, `end` being the present."""
    if not hasattr(interval, "usage_credit"):
        return None
    found = interval.usage_credit
    if (start is not None and found.created_at < start) or found.created_at > end:
        return None
    return Credit(found.words, found.microseconds, found.amount_micros, found.created_at)


def spent_micros(account: BillingAccount, *, at: datetime) -> int:
    """What the month of `at` has come to by `at`, posted or not, less what was given back in it."""
    start, _ = period_of(at)
    posted = RatedUsage.objects.filter(account=account, period_start=start)
    given = UsageCredit.objects.filter(account=account, period_start=start)
    running = UsageInterval.objects.filter(account=account, ended_at__isnull=True)
    unposted = sum(
        max(0, accrued_micros(interval, until=at) - interval.billed_micros)
        for interval in running.select_related("price")
    )
    return _sum(posted) + unposted - _sum(given)


def _sum(rows: QuerySet[RatedUsage] | QuerySet[UsageCredit]) -> int:
    return int(rows.aggregate(total=Sum("amount_micros", default=0))["total"])


def _intervals(resource_kind: str, resource_ids: Collection[int]) -> QuerySet[UsageInterval]:
    return UsageInterval.objects.filter(
        resource_kind=resource_kind, resource_id__in=resource_ids
    ).select_related("price", "usage_credit")
