"""What kept files cost."""

from __future__ import annotations

from accounts.models import Team
from billing.choices import Meter
from billing.models import UsageInterval
from billing.queries.accrual import burn_micros_per_hour
from portal.lib import clock

_HOURS = 24


def storage_micros_per_day(team: Team) -> int:
    """What the team's storage costs in a day at its present size, rounded up an hour."""
    now = clock.now()
    kept = UsageInterval.objects.select_related("price").filter(
        account__team=team, ended_at__isnull=True, sku__meter=Meter.STORAGE
    )
    return _HOURS * sum(burn_micros_per_hour(interval, at=now) for interval in kept)
