"""What kept files cost."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from accounts.models import Team
from billing.choices import Meter
from billing.models import BillingAccount, UsageInterval
from billing.queries.accrual import burn_micros_per_hour
from portal.lib import clock

_HOURS = 24


def storage_micros_per_day(team: Team) -> int:
    """What the team's storage costs in a day at its present size, rounded up an hour."""
    now = clock.now()
    kept = _kept().filter(account__team=team).select_related("price")
    return _HOURS * sum(burn_micros_per_hour(interval, at=now) for interval in kept)


def kept_storage(account: BillingAccount) -> list[UsageInterval]:
    """What keeps files on the account now, the oldest first."""
    return list(_kept().filter(account=account).order_by("started_at", "pk"))


def keeps_storage(account: BillingAccount) -> bool:
    """Whether any files are kept on the account."""
    return _kept().filter(account=account).exists()


def storage_ends_at(account: BillingAccount) -> datetime | None:
    """When kept files are deleted for want of money; None where there is money."""
    if account.exhausted_at is None:
        return None
    return account.exhausted_at + timedelta(days=settings.STORAGE_KEEP_DAYS)


def _kept() -> QuerySet[UsageInterval]:
    return UsageInterval.objects.filter(ended_at__isnull=True, sku__meter=Meter.STORAGE)
