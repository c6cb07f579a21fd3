"""Usage intervals: opened and closed with the engine's own times, rated in between."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from billing.actions.accounts import lock_accounts, lock_payer
from billing.actions.faults import Fault, credit_fault
from billing.actions.rating import rate_closed, rate_open
from billing.labels import NO_LABELS, CostLabels
from billing.models import BillingAccount, Price, UsageInterval
from portal.lib.errors import Conflict, InvalidInput

logger = logging.getLogger(__name__)
# Accounts rated in one transaction: they are locked no longer than a moment.
TOGETHER = 100


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
    """`quantity` units of a SKU in use by `resource` from `started_at`, at a pinned price.

    `proven_at`: when it was last known to be in use; None for what is in use until it is ended.
    """

    account: BillingAccount
    sku_code: str
    price: Price
    resource: Resource
    quantity: int
    started_at: datetime
    labels: CostLabels = NO_LABELS
    proven_at: datetime | None = None


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
        pool=start.labels.pool,
        member_id=start.labels.member_id,
        api_key_id=start.labels.api_key_id,
        quantity=start.quantity,
        started_at=begin,
        rated_until=begin,
        billable_until=start.proven_at and max(begin, start.proven_at) + grace(),
    )


def grace() -> timedelta:
    """How long after the last proof of life something is still charged."""
    return timedelta(seconds=settings.METER_GRACE_SECONDS)


# What a tick is rating at this moment is left for the next proof: neither waits for the other.
_PROVE = """
UPDATE billing_usageinterval SET billable_until = %(until)s WHERE id IN (
    SELECT i.id FROM billing_usageinterval i
    JOIN unnest(%(ids)s::bigint[], %(attempts)s::int[]) AS seen (resource_id, attempt)
        ON i.resource_id = seen.resource_id AND i.resource_attempt = seen.attempt
    WHERE i.resource_kind = %(kind)s AND i.ended_at IS NULL AND i.billable_until < %(until)s
    FOR NO KEY UPDATE OF i SKIP LOCKED
)
"""


def prove(resource_kind: str, attempts: Collection[tuple[int, int]], *, at: datetime) -> int:
    """Note that these `(resource_id, attempt)` were in use at `at`; returns how many were noted.

    One statement for any number. It only ever moves on what may be charged.
    """
    if not attempts:
        return 0
    ids, numbers = zip(*attempts, strict=True)
    values: dict[str, str | datetime | list[int]] = {
        "kind": resource_kind,
        "ids": list(ids),
        "attempts": list(numbers),
        "until": at + grace(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PROVE, values)
        return int(cursor.rowcount)


@transaction.atomic(savepoint=False)
def close_interval(
    resource_kind: str,
    resource_id: int,
    attempt: int,
    *,
    ended_at: datetime,
    is_proven: bool = True,
    fault: Fault | None = None,
) -> UsageInterval | None:
    """End the attempt's interval at `ended_at` and post its exact cost; None where there is none.

    Safe to repeat: a closed interval stays as it is. What ticks rated past the end is given back.
    An end that is not proven, because nobody who was there told it, is no later than the last
    proof of life and the grace. What ended by a `fault` of ours is given back at once.
    """
    account = lock_payer(resource_kind, resource_id)
    if account is None:
        return None
    attempts = UsageInterval.objects.select_related("price").filter(
        resource_kind=resource_kind, resource_id=resource_id
    )
    interval = attempts.filter(resource_attempt=attempt).first()
    if interval is not None and interval.ended_at is None:
        _close(interval, ended_at, is_proven=is_proven)
        rate_closed(account, interval)
        if fault is not None:
            credit_fault(account, interval, fault)
    return interval


def _close(interval: UsageInterval, ended_at: datetime, *, is_proven: bool) -> None:
    limit = interval.billable_until
    if limit is not None and is_proven:
        interval.billable_until = max(limit, ended_at)
    elif limit is not None:
        ended_at = min(ended_at, limit)
    interval.ended_at = max(ended_at, interval.started_at)
    interval.save(update_fields=["ended_at", "billable_until"])


def rate_open_intervals(*, until: datetime) -> int:
    """The tick: post what every open interval has come to by `until`.

    Returns the number of pieces posted, cut at months. Some accounts at a time in one transaction;
    one that fails does not hold up the others, and what failed is raised together at the end.
    """
    found = UsageInterval.objects.filter(ended_at__isnull=True, rated_until__lt=until)
    accounts = list(found.order_by("account_id").values_list("account_id", flat=True).distinct())
    posted = 0
    failures: list[Exception] = []
    for first in range(0, len(accounts), TOGETHER):
        try:
            posted += rate_accounts(accounts[first : first + TOGETHER], until=until)
        except Exception:
            logger.exception("some accounts could not be rated together")
            posted += _rate_alone(accounts[first : first + TOGETHER], until, failures)
    if failures:
        raise ExceptionGroup("some accounts were not rated", failures)
    return posted


def _rate_alone(accounts: Sequence[int], until: datetime, failures: list[Exception]) -> int:
    posted = 0
    for account_id in accounts:
        try:
            posted += rate_accounts([account_id], until=until)
        except Exception as error:
            logger.exception("rating account %s failed", account_id)
            failures.append(error)
    return posted


@transaction.atomic
def rate_accounts(account_ids: Sequence[int], *, until: datetime) -> int:
    """Post what the open intervals of these accounts have come to by `until`; returns how many."""
    return rate_open(lock_accounts(account_ids), until)
