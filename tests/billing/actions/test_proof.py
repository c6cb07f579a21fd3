"""Nothing is charged past the last proof of life and the grace."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    prove,
    rate_open_intervals,
)
from billing.models import BillingAccount, Price, UsageInterval
from billing.queries.funds import funds_of
from billing.queries.usage import cost_of, intervals_of
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import START, Hands

GRACE = timedelta(seconds=120)
PRICE = 2_100_000


@pytest.fixture
def proven(account: BillingAccount, prices: Price, hands: Hands) -> UsageInterval:
    """One GPU that was seen in use at START, and not since."""
    start = Start(
        account,
        prices.sku.code,
        prices,
        Resource("workload", 1, 1, "job_1", "train"),
        quantity=1,
        started_at=START,
        proven_at=START,
    )
    return open_intervals([start])[0]


def billed(interval: UsageInterval) -> tuple[datetime, int]:
    interval.refresh_from_db()
    return interval.rated_until, interval.billed_micros


def test_a_tick_stops_at_the_last_proof_and_the_grace(
    account: BillingAccount, proven: UsageInterval, hands: Hands
) -> None:
    rate_open_intervals(until=hands.forward(hours=3))
    assert billed(proven) == (START + GRACE, 70_000)
    assert rate_open_intervals(until=hands.forward(hours=3)) == 0
    assert_books(account)


def test_what_is_shown_stops_there_too(
    account: BillingAccount, proven: UsageInterval, hands: Hands
) -> None:
    hands.forward(hours=3)
    assert cost_of("workload", [1]) == {1: 70_000}
    assert funds_of(account).balance_micros == 50 * MICROS - 70_000
    assert intervals_of("workload", 1)[0].burn_micros_per_hour == 0


def test_time_in_between_is_charged_once_it_is_seen_again(
    account: BillingAccount, proven: UsageInterval, hands: Hands
) -> None:
    rate_open_intervals(until=hands.forward(hours=1))
    assert prove("workload", [(1, 1)], at=hands.now) == 1
    rate_open_intervals(until=hands.now)
    assert billed(proven) == (hands.now, PRICE)
    assert_books(account)


def test_a_proof_never_moves_back(proven: UsageInterval) -> None:
    prove("workload", [(1, 1)], at=START + timedelta(hours=1))
    assert prove("workload", [(1, 1)], at=START) == 0
    proven.refresh_from_db()
    assert proven.billable_until == START + timedelta(hours=1) + GRACE


def test_another_attempt_proves_nothing(proven: UsageInterval) -> None:
    assert prove("workload", [(1, 2), (2, 1)], at=START + timedelta(hours=1)) == 0


def test_an_end_that_somebody_saw_is_charged_in_full(
    account: BillingAccount, proven: UsageInterval, hands: Hands
) -> None:
    hands.forward(hours=2)
    closed = close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    assert closed is not None
    assert closed.billed_micros == PRICE
    assert_books(account)


def test_an_end_nobody_saw_is_charged_to_the_grace(
    account: BillingAccount, proven: UsageInterval, hands: Hands
) -> None:
    at = hands.forward(hours=2)
    closed = close_interval("workload", 1, 1, ended_at=at, is_proven=False)
    assert closed is not None
    assert (closed.ended_at, closed.billed_micros) == (START + GRACE, 70_000)
    assert_books(account)


@pytest.mark.parametrize("column", ["ended_at", "rated_until"])
def test_the_database_refuses_time_that_is_not_proven(proven: UsageInterval, column: str) -> None:
    late = START + GRACE + timedelta(microseconds=1)
    with pytest.raises(IntegrityError, match="when_proven"), transaction.atomic():
        UsageInterval.objects.filter(pk=proven.pk).update(**{column: late})
