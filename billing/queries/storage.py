"""What kept files cost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from accounts.models import Team
from billing.choices import Meter
from billing.models import BillingAccount, UsageInterval
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.accrual import burn_micros_per_hour
from billing.queries.prices import price_for
from portal.lib import clock
from portal.lib.money import micros_per_hour

_HOURS = 24


def storage_micros_per_day(team: Team) -> int:
    """What the team's storage costs in a day at its present size, rounded up an hour."""
    now = clock.now()
    kept = _kept().filter(account__team=team).select_related("price")
    return _HOURS * sum(burn_micros_per_hour(interval, at=now) for interval in kept)


def month_micros(account: BillingAccount, gib: int) -> int:
    """What `gib` GiB cost the account a month (730 hours) at the price of now, rounded up.

    Raises NotFound while storage has no price.
    """
    price = price_for(account, settings.STORAGE_SKU, at=clock.now())
    return micros_per_hour(
        price.unit_micros * HOURS_PER_MONTH, quantity=gib, unit_hours=price.unit_hours
    )


def month_micros_of(kind: str, ids: Collection[int]) -> dict[int, int]:
    """What each of these resources costs a month at its present size, by id; one query."""
    kept = _kept().filter(resource_kind=kind, resource_id__in=ids).select_related("price")
    return {
        interval.resource_id: micros_per_hour(
            interval.price.unit_micros * HOURS_PER_MONTH,
            quantity=interval.quantity,
            unit_hours=interval.price.unit_hours,
        )
        for interval in kept
    }


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
