"""The storage meter: how many GiB a resource keeps, from when to when.

Whoever keeps files calls `set_storage` at every change of size and `end_storage` at the end. Each
size is an interval of its own that begins at the instant the one before it ends; the attempt number
of the resource counts them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.actions.accounts import lock_account
from billing.actions.metering import Resource, Start, close_interval, open_intervals
from billing.labels import NO_LABELS, CostLabels
from billing.models import BillingAccount, UsageInterval
from billing.queries.prices import price_for
from portal.lib import clock
from portal.lib.errors import InvalidInput

MAX_GIB = 10**6


@transaction.atomic
def set_storage(
    account: BillingAccount,
    resource: Resource,
    *,
    gib: int,
    at: datetime,
    labels: CostLabels = NO_LABELS,
    sku_code: str = "",
) -> UsageInterval | None:
    """`resource` keeps `gib` GiB from `at` on, at the price of that instant; None for 0.

    The `attempt` of `resource` is counted here. The same size again changes nothing. Raises
    InvalidInput for a size that cannot be, a time to come, or one before the last change, NotFound
    without a price.
    """
    _check(gib, at)
    account = lock_account(account.pk)
    current = _latest(resource)
    if current is not None:
        _check_order(current, at)
        if current.ended_at is None and current.quantity == gib:
            return current
        if current.ended_at is None:
            close_interval(resource.kind, resource.id, current.resource_attempt, ended_at=at)
    if gib == 0:
        return None
    code = sku_code or settings.STORAGE_SKU
    number = current.resource_attempt + 1 if current else 1
    start = Start(
        account,
        code,
        price_for(account, code, at=at),
        replace(resource, attempt=number),
        quantity=gib,
        started_at=at,
        labels=labels,
    )
    return open_intervals([start])[0]


def end_storage(account: BillingAccount, resource: Resource, *, at: datetime) -> None:
    """`resource` keeps nothing from `at` on; it may be repeated."""
    set_storage(account, resource, gib=0, at=at)


def _latest(resource: Resource) -> UsageInterval | None:
    found = UsageInterval.objects.filter(resource_kind=resource.kind, resource_id=resource.id)
    return found.order_by("-resource_attempt").first()


def _check(gib: int, at: datetime) -> None:
    if isinstance(gib, bool) or not isinstance(gib, int) or not 0 <= gib <= MAX_GIB:
        raise InvalidInput.of(gib=f"Keep between 0 and {MAX_GIB:,} whole GiB.")
    if at > clock.now():
        raise InvalidInput.of(at="What is kept is told when it is, not before.")


def _check_order(current: UsageInterval, at: datetime) -> None:
    if at < (current.ended_at or current.started_at):
        raise InvalidInput.of(at="The size was changed after that already.")
