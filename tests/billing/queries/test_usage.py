"""Costs and their reasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billing.actions.metering import close_interval, rate_open_intervals
from billing.models import BillingAccount
from billing.queries.usage import billed_us_of, cost_of, intervals_of, usage_by_resource
from tests.billing.conftest import START, Hands, Metered

MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def test_cost_counts_what_is_not_posted_yet(metered: Metered, hands: Hands) -> None:
    metered(quantity=2)
    rate_open_intervals(until=hands.forward(minutes=1))
    hands.forward(seconds=9)
    assert cost_of("workload", [1, 2]) == {1: 2_100_000 * 2 * 69 // 3600, 2: 0}


def test_time_is_summed_over_attempts(metered: Metered, hands: Hands) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(seconds=10))
    metered(attempt=2, at=hands.forward(seconds=5))
    hands.forward(seconds=7)
    assert billed_us_of("workload", [1]) == {1: 17_000_000}


def test_why_adds_up_to_the_amount(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(seconds=10))
    metered(attempt=2, at=hands.forward(seconds=5))
    hands.forward(seconds=7)
    line = usage_by_resource(account, start=MAY, end=JUNE)[0]
    parts = intervals_of("workload", 1)
    assert [part.amount_micros for part in parts] == [5833, 4083]
    assert line.amount_micros == sum(part.amount_micros for part in parts)
    assert line.is_open


def test_usage_across_months_is_split_and_conserved(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    begin = JUNE - timedelta(seconds=100.333333)
    metered(quantity=3, at=begin)
    hands.now = JUNE + timedelta(seconds=77.777777)
    closed = close_interval("workload", 1, 1, ended_at=hands.now)
    assert closed is not None
    may = usage_by_resource(account, start=MAY, end=JUNE)[0]
    june = usage_by_resource(account, start=JUNE, end=JULY)[0]
    assert may.amount_micros + june.amount_micros == closed.billed_micros
    assert may.microseconds + june.microseconds == 178_111_110


def test_newest_run_comes_first(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    metered(1)
    metered(2, at=START + timedelta(seconds=1))
    hands.forward(minutes=1)
    lines = usage_by_resource(account, start=MAY, end=JUNE)
    assert [line.public_id for line in lines] == ["job_2", "job_1"]
