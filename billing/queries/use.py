"""How busy what is billed was, as it was measured."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Sum

from billing.models import UsageInterval, UsageMeasure
from portal.lib.money import MICROS, cost_micros


@dataclass(frozen=True, slots=True)
class Use:
    """Of `unit_seconds` that were measured, `idle_seconds` did nothing."""

    unit_seconds: int
    utilization_ppm: int
    idle_seconds: int

    def idle_micros(self, unit_micros: int, unit_hours: int) -> int:
        """What the idle seconds cost at this price, rounded down; unknown ones count as busy."""
        return cost_micros(unit_micros, 1, self.idle_seconds * MICROS, unit_hours=unit_hours)


def use_of(intervals: Collection[UsageInterval]) -> dict[int, Use]:
    """Interval -> how busy it was over its whole time, in one query; without those unmeasured."""
    found = (
        UsageMeasure.objects.filter(interval__in=intervals)
        .values("interval_id")
        .annotate(units=Sum("unit_seconds"), busy=Sum("busy_ppm_seconds"), idle=Sum("idle_seconds"))
    )
    return {
        row["interval_id"]: Use(row["units"], int(row["busy"] // row["units"]), row["idle"])
        for row in found
    }
