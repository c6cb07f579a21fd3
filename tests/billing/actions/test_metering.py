"""Metering and rating: exact, idempotent, whatever the ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.actor import Actor
from billing.actions.credit import grant_credit
from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    rate_accounts,
    rate_open_intervals,
)
from billing.choices import AccountCode
from billing.models import BillingAccount, JournalEntry, Price, RatedUsage, Sku, UsageInterval
from billing.queries.funds import funds_of
from billing.queries.periods import cuts, period_of
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.money import MICROS, cost_micros
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Hands, Metered

PRICE = 2_100_000


def test_cost_is_price_times_time_to_the_micro_unit(
    account: BillingAccount, metered: Metered
) -> None:
    metered(quantity=3)
    closed = close_interval("workload", 1, 1, ended_at=START + timedelta(seconds=61.234567))
    assert closed is not None
    assert closed.billed_micros == PRICE * 3 * 61_234_567 // 3_600_000_000
    assert_books(account)


@given(
    price=st.integers(0, 10**9),
    quantity=st.integers(1, 64),
    ticks=st.lists(st.integers(0, 10**12), max_size=30),
)
def test_any_split_of_time_sums_to_the_whole(price: int, quantity: int, ticks: list[int]) -> None:
    times = sorted(ticks)
    billed = 0
    for at in times:
        billed += cost_micros(price, quantity, at) - billed
    assert billed == (cost_micros(price, quantity, times[-1]) if times else 0)


@given(
    ticks=st.lists(
        st.integers(0, 5_000_000_000).map(lambda us: timedelta(microseconds=us)), max_size=8
    ),
    length=st.integers(0, 4_000_000_000).map(lambda us: timedelta(microseconds=us)),
    start=st.sampled_from([START, datetime(2026, 1, 31, 23, 40, tzinfo=UTC)]),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_sequence_of_ticks_bills_the_same(
    account: BillingAccount,
    metered: Metered,
    ticks: list[timedelta],
    length: timedelta,
    start: datetime,
) -> None:
    point = transaction.savepoint()
    try:
        metered(at=start)
        for tick in ticks:  # in any order, repeated, and past the end
            rate_accounts([account.pk], until=start + tick)
        closed = close_interval("workload", 1, 1, ended_at=start + length)
        assert closed is not None
        assert closed.billed_micros == cost_micros(PRICE, 1, length // timedelta(microseconds=1))
        assert_books(account)
        assert balance(account, AccountCode.PROMO_CREDIT) == closed.billed_micros - 50 * MICROS
    finally:
        transaction.savepoint_rollback(point)


def test_opening_twice_is_opening_once(metered: Metered) -> None:
    assert metered().pk == metered().pk


def test_closing_twice_keeps_the_first_end(account: BillingAccount, metered: Metered) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START + timedelta(minutes=1))
    again = close_interval("workload", 1, 1, ended_at=START + timedelta(minutes=9))
    assert again is not None
    assert again.ended_at == START + timedelta(minutes=1)
    assert_books(account)


def test_closing_what_never_opened_is_nothing(account: BillingAccount) -> None:
    assert close_interval("workload", 99, 1, ended_at=START) is None


def test_end_before_start_costs_nothing(metered: Metered) -> None:
    metered()
    closed = close_interval("workload", 1, 1, ended_at=START - timedelta(seconds=5))
    assert closed is not None
    assert (closed.ended_at, closed.billed_micros) == (START, 0)


def test_replayed_tick_posts_nothing(account: BillingAccount, metered: Metered) -> None:
    metered()
    at = START + timedelta(minutes=1)
    assert rate_open_intervals(until=at) == 1
    before = JournalEntry.objects.count()
    assert rate_open_intervals(until=at) == 0
    assert rate_open_intervals(until=at - timedelta(seconds=30)) == 0
    assert JournalEntry.objects.count() == before


def test_time_not_worth_a_micro_unit_waits(account: BillingAccount, metered: Metered) -> None:
    interval = metered()
    rate_accounts([account.pk], until=START + timedelta(microseconds=100))
    assert not RatedUsage.objects.exists()
    interval.refresh_from_db()
    assert interval.rated_until == START


def test_tick_past_the_true_end_is_given_back(account: BillingAccount, metered: Metered) -> None:
    metered()
    rate_open_intervals(until=START + timedelta(hours=2))
    closed = close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    assert closed is not None
    assert closed.billed_micros == PRICE
    assert funds_of(account).balance_micros == 50 * MICROS - PRICE
    assert_books(account)


def test_give_back_forgives_debt_first(account: BillingAccount, metered: Metered) -> None:
    metered(quantity=10)
    rate_open_intervals(until=START + timedelta(hours=3))  # $63 of $50
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 13 * MICROS
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert funds_of(account).balance_micros == 29 * MICROS
    assert_books(account)


def test_give_back_of_debt_paid_meanwhile_becomes_credit(
    account: BillingAccount, metered: Metered
) -> None:
    metered(quantity=10)
    rate_open_intervals(until=START + timedelta(hours=3))
    grant_credit(
        Actor.system(), account, amount_micros=20 * MICROS, reason="more", idempotency_key="x"
    )
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    assert funds_of(account).balance_micros == 49 * MICROS
    assert_books(account)


def test_usage_beyond_credit_is_debt(account: BillingAccount, metered: Metered) -> None:
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    assert balance(account, AccountCode.PROMO_CREDIT) == 0
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 13 * MICROS
    assert_books(account)


def test_slices_are_cut_at_the_month(account: BillingAccount, metered: Metered) -> None:
    metered(at=datetime(2026, 5, 31, 23, tzinfo=UTC))
    close_interval("workload", 1, 1, ended_at=datetime(2026, 6, 1, 1, tzinfo=UTC))
    ends = list(RatedUsage.objects.order_by("segment_start").values_list("segment_end", flat=True))
    june = datetime(2026, 6, 1, tzinfo=UTC)
    assert ends == [june, june + timedelta(hours=1)]
    assert_books(account)


def test_next_attempt_is_not_metered_for_time_that_is_paid(metered: Metered) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START + timedelta(minutes=5))
    second = metered(attempt=2, at=START + timedelta(minutes=4))
    assert second.started_at == START + timedelta(minutes=5)


def test_two_attempts_are_not_metered_at_once(metered: Metered) -> None:
    metered()
    with pytest.raises(Conflict):
        metered(attempt=2)


def test_database_refuses_overlap(metered: Metered) -> None:
    first = metered()
    first.pk, first.resource_attempt = None, 2
    with pytest.raises(IntegrityError, match="interval_no_overlap"), transaction.atomic():
        first.save(force_insert=True)


def test_same_number_of_another_kind_does_not_overlap(metered: Metered) -> None:
    first = metered()
    first.pk, first.resource_kind = None, "volume"
    first.save(force_insert=True)
    assert UsageInterval.objects.count() == 2


def test_price_of_another_sku_is_refused(account: BillingAccount, prices: Price) -> None:
    Sku.objects.create(code="other", label="Other")
    with pytest.raises(InvalidInput):
        open_intervals(
            [
                Start(
                    account,
                    sku_code="other",
                    price=prices,
                    resource=Resource("workload", 1, 1, "job_1", "train"),
                    quantity=1,
                    started_at=START,
                )
            ]
        )


def test_tick_takes_the_same_queries_for_one_and_for_twenty(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(1)
    rate_open_intervals(until=hands.forward(minutes=1))  # the lines of the chart exist now
    with CaptureQueriesContext(connection) as one:
        rate_open_intervals(until=hands.forward(minutes=1))
    for number in range(2, 21):
        metered(number)
    with CaptureQueriesContext(connection) as twenty:
        rate_open_intervals(until=hands.forward(minutes=1))
    assert len(twenty) == len(one)
    assert_books(account)


def test_cuts_run_backwards_too() -> None:
    first, last = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC)
    forward = list(cuts(first, last))
    assert list(cuts(last, first)) == [(end, start) for start, end in reversed(forward)]
    assert len(forward) == 3


def test_period_is_the_month_in_utc() -> None:
    assert period_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
