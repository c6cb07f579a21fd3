"""Spending by day: adds up to what is billed, however it is split."""

from __future__ import annotations

from datetime import date

import pytest

from billing.actions.faults import Fault
from billing.actions.metering import close_interval, rate_open_intervals
from billing.labels import CostLabels
from billing.models import BillingAccount, UsageInterval
from billing.queries.spend import SplitBy, spend
from tests.billing.books import assert_books
from tests.billing.conftest import Hands, Metered

FIRST, LAST = date(2026, 5, 1), date(2026, 5, 31)


def test_days_add_up_to_what_is_billed(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(1, quantity=3)
    metered(2)
    for seconds in (86_401.000007, 3601, 200_003.5):
        rate_open_intervals(until=hands.forward(seconds=seconds))
    close_interval("workload", 1, 1, ended_at=hands.forward(seconds=7.000001))
    close_interval("workload", 2, 1, ended_at=hands.now)
    billed = sum(UsageInterval.objects.values_list("billed_micros", flat=True))
    found = spend(account, FIRST, LAST, by=SplitBy.KIND)
    assert found.total_micros == billed
    assert sum(micros for _, micros in found.by_day) == billed
    assert_books(account)


def test_day_holds_what_was_used_in_it(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=20))
    days = dict(spend(account, FIRST, LAST, by=SplitBy.KIND).by_day)
    assert days[date(2026, 5, 4)] == 14 * 2_100_000
    assert days[date(2026, 5, 5)] == 6 * 2_100_000
    assert days[date(2026, 5, 6)] == 0


def test_what_runs_counts_up_to_now(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    hands.forward(hours=2)
    assert spend(account, FIRST, LAST, by=SplitBy.POOL).total_micros == 2 * 2_100_000


def test_credit_for_a_fault_is_taken_off(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    end = hands.forward(hours=2)
    close_interval("workload", 1, 1, ended_at=end, fault=Fault("node_lost", "A node died"))
    assert spend(account, FIRST, LAST, by=SplitBy.KIND).total_micros == 0


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (SplitBy.PROJECT, {"vision", "No project"}),
        (SplitBy.POOL, {"a100", "No pool"}),
        (SplitBy.MEMBER, {"Nobody"}),
        (SplitBy.KIND, {"A100"}),
    ],
)
def test_it_is_split_by_labels(
    account: BillingAccount, metered: Metered, hands: Hands, by: SplitBy, keys: set[str]
) -> None:
    metered(1)
    metered(2)
    labels = CostLabels(project="vision", pool="a100")
    UsageInterval.objects.filter(resource_id=1).update(project=labels.project, pool=labels.pool)
    hands.forward(hours=1)
    assert set(spend(account, FIRST, LAST, by=by).series) == keys


def test_other_days_and_teams_are_left_out(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    hands.forward(hours=1)
    assert spend(account, date(2026, 4, 1), date(2026, 5, 3), by=SplitBy.KIND).series == {}
