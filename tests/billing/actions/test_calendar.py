"""The calendar and the clock at their worst: summer time, ends of months, hands that go back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from billing.actions.metering import close_interval, rate_open_intervals
from billing.models import BillingAccount, JournalEntry, RatedUsage
from billing.queries.funds import funds_of
from billing.queries.periods import period_of
from billing.queries.spend import SplitBy, spend
from billing.queries.usage import cost_of
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import Hands, Metered

HOURLY = 2_100_000


@pytest.fixture(params=["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the reader lives must not matter; the last zone shifts by half an hour."""
    with timezone.override(ZoneInfo(request.param)):
        yield request.param


# The nights in which Berlin and Lord Howe change their clocks.
@pytest.mark.parametrize("night", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 4, 5)])
def test_summer_time_neither_takes_nor_gives_an_hour(
    zone: str, night: date, account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    start = datetime(night.year, night.month, night.day, tzinfo=UTC) - timedelta(hours=12)
    hands.now = start
    metered(at=start)
    for _ in range(48):
        rate_open_intervals(until=hands.forward(hours=1))
    assert cost_of("workload", [1]) == {1: 48 * HOURLY}
    found = spend(account, night - timedelta(days=1), night + timedelta(days=1), by=SplitBy.KIND)
    assert [micros for _, micros in found.by_day] == [12 * HOURLY, 24 * HOURLY, 12 * HOURLY]
    assert_books(account)


@pytest.mark.parametrize(
    "edge",
    [
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2028, 2, 29, tzinfo=UTC),
        datetime(2028, 3, 1, tzinfo=UTC),
    ],
)
def test_every_microsecond_belongs_to_one_month(
    zone: str, edge: datetime, account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    hands.now = edge - timedelta(hours=1, microseconds=1)
    metered(at=hands.now)
    hands.now = edge + timedelta(hours=1)
    rate_open_intervals(until=hands.now)
    close_interval("workload", 1, 1, ended_at=hands.now)
    pieces = list(RatedUsage.objects.order_by("segment_start"))
    for before, after in pairwise(pieces):
        assert before.segment_end == after.segment_start
    for piece in pieces:
        first, next_month = period_of(piece.segment_start)
        assert (piece.period_start, piece.segment_end <= next_month) == (first, True)
    assert sum(piece.amount_micros for piece in pieces) == 2 * HOURLY
    assert_books(account)


def test_run_that_ends_with_the_month_has_nothing_in_the_next(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    metered(at=june - timedelta(hours=1))
    hands.now = june + timedelta(hours=3)
    close_interval("workload", 1, 1, ended_at=june)
    (piece,) = RatedUsage.objects.all()
    assert (piece.period_start, piece.amount_micros) == (datetime(2026, 5, 1, tzinfo=UTC), HOURLY)


def test_clock_that_goes_back_bills_nothing_twice(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(at=hands.now)
    rate_open_intervals(until=hands.forward(hours=1))
    posted = JournalEntry.objects.count()
    rate_open_intervals(until=hands.forward(minutes=-30))
    assert JournalEntry.objects.count() == posted
    assert funds_of(account).balance_micros == 50 * MICROS - HOURLY
    rate_open_intervals(until=hands.forward(hours=1, minutes=30))
    assert cost_of("workload", [1]) == {1: 2 * HOURLY}
    assert_books(account)


def test_clock_that_jumps_ahead_bills_what_is_proven(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    interval = metered(at=hands.now)
    interval.billable_until = hands.now + timedelta(minutes=2)
    interval.save()
    rate_open_intervals(until=hands.forward(days=400))
    assert cost_of("workload", [1]) == {1: HOURLY // 30}
