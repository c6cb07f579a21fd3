"""Usage intervals: opened and closed with the engine's own times, rated in between."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing.actions.accounts import lock_account, lock_payer
from billing.actions.rating import rate_closed, rate_open
from billing.labels import NO_LABELS, CostLabels
from billing.models import BillingAccount, Price, UsageInterval
from portal.lib.errors import Conflict, InvalidInput, NotFound

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resource:
    """What uses something: billing knows no more of it. `attempt` fences older placements."""

    kind: str
    id: int
    attempt: int
    public_id: str
    label: str


@dataclass(frozen=True, slots=True)
class Start:
    """`quantity` units of a SKU in use by `resource` from `started_at`, at a pinned price."""

    account: BillingAccount
    sku_code: str
    price: Price
    resource: Resource
    quantity: int
    started_at: datetime
    labels: CostLabels = NO_LABELS


@transaction.atomic(savepoint=False)
def open_intervals(starts: Sequence[Start]) -> list[UsageInterval]:
    """Meter each of `starts`, once for each attempt; answers in their order.

    The caller has locked the accounts. Time an earlier attempt has paid for already is not metered
    again. Raises Conflict while an earlier attempt is still being metered, InvalidInput for a price
    of another SKU.
    """
    earlier: dict[tuple[str, int, int], list[UsageInterval]] = defaultdict(list)
    for interval in UsageInterval.objects.filter(
        resource_kind__in={start.resource.kind for start in starts},
        resource_id__in={start.resource.id for start in starts},
    ):
        earlier[interval.resource_kind, interval.resource_id, interval.sku_id].append(interval)
    opened = []
    for start in starts:
        resource = start.resource
        opened.append(_opened(start, earlier[resource.kind, resource.id, start.price.sku_id]))
    UsageInterval.objects.bulk_create(interval for interval in opened if interval.pk is None)
    return opened


def _opened(start: Start, earlier: Iterable[UsageInterval]) -> UsageInterval:
    """The interval of `start` as it is, or a new one that follows what was metered `earlier`."""
    price, resource = start.price, start.resource
    if price.sku.code != start.sku_code:
        raise InvalidInput(f"This price is for {price.sku.code}, not for {start.sku_code}.")
    begin = start.started_at
    for other in earlier:
        if other.resource_attempt == resource.attempt:
            return other
        if other.ended_at is None:
            raise Conflict(f"{resource.public_id} is being metered for another attempt.")
        begin = max(begin, other.ended_at)
    return UsageInterval(
        account=start.account,
        sku=price.sku,
        price=price,
        resource_kind=resource.kind,
        resource_id=resource.id,
        resource_attempt=resource.attempt,
        resource_public_id=resource.public_id,
        resource_label=resource.label,
        project=start.labels.project,
        member_id=start.labels.member_id,
        api_key_id=start.labels.api_key_id,
        quantity=start.quantity,
        started_at=begin,
        rated_until=begin,
    )


@transaction.atomic(savepoint=False)
def close_interval(
    resource_kind: str, resource_id: int, attempt: int, *, ended_at: datetime
) -> UsageInterval | None:
    """End the attempt's interval at `ended_at` and post its exact cost; None where there is none.

    Safe to repeat: a closed interval stays as it is. What ticks rated past the end is given back.
    """
    account = lock_payer(resource_kind, resource_id)
    if account is None:
        return None
    attempts = UsageInterval.objects.select_related("price").filter(
        resource_kind=resource_kind, resource_id=resource_id
    )
    interval = attempts.filter(resource_attempt=attempt).first()
    if interval is not None and interval.ended_at is None:
        interval.ended_at = max(ended_at, interval.started_at)
        interval.save(update_fields=["ended_at"])
        rate_closed(account, interval)
    return interval


@transaction.atomic
def rate_interval(interval_id: int, *, until: datetime) -> UsageInterval:
    """Post what one interval has come to by `until`. Raises NotFound."""
    found = UsageInterval.objects.filter(pk=interval_id).first()
    if found is None:
        raise NotFound("There is no such usage.")
    account = lock_account(found.account_id)
    interval = UsageInterval.objects.select_related("price").get(pk=interval_id)
    if interval.ended_at is None:
        rate_open(account, [interval], until)
    return interval


def rate_open_intervals(*, until: datetime) -> int:
    """The tick: post what every open interval has come to by `until`, account by account.

    Returns the number of slices posted. An account that fails does not hold up the others; what
    failed is raised together at the end.
    """
    accounts = (
        UsageInterval.objects.filter(ended_at__isnull=True, rated_until__lt=until)
        .order_by("account_id")
        .values_list("account_id", flat=True)
        .distinct()
    )
    posted = 0
    failures: list[Exception] = []
    for account_id in list(accounts):
        try:
            posted += _rate_account(account_id, until)
        except Exception as error:
            logger.exception("rating account %s failed", account_id)
            failures.append(error)
    if failures:
        raise ExceptionGroup("some accounts were not rated", failures)
    return posted


@transaction.atomic
def _rate_account(account_id: int, until: datetime) -> int:
    account = lock_account(account_id)
    intervals = UsageInterval.objects.filter(
        account=account, ended_at__isnull=True, rated_until__lt=until
    ).select_related("price")
    return rate_open(account, list(intervals), until)
