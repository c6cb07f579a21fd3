"""Ticks, proofs and ends at the same time, on the real database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections

from billing.actions.faults import Fault
from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    prove,
    rate_open_intervals,
)
from billing.actions.storage import set_storage
from billing.models import BillingAccount, Price, UsageCredit, UsageInterval
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import START

pytestmark = pytest.mark.django_db(transaction=True)
RUNS = 12
LATER = START + timedelta(hours=1)
LOST = Fault("node_lost", "It was lost")


def together(*deeds: Callable[[], object]) -> list[BaseException]:
    barrier = threading.Barrier(len(deeds))
    failures: list[BaseException] = []

    def call(deed: Callable[[], object]) -> None:
        try:
            barrier.wait(timeout=30)
            deed()
        except BaseException as error:  # told to the test, whatever it is
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.fixture
def running(account: BillingAccount, prices: Price) -> None:
    """A dozen runs of one GPU since START, proven to be there."""
    open_intervals(
        [
            Start(
                account,
                prices.sku.code,
                prices,
                Resource("workload", number, 1, f"job_{number}", "train"),
                quantity=1,
                started_at=START,
                proven_at=LATER,
            )
            for number in range(RUNS)
        ]
    )


def test_ticks_at_once_charge_once(account: BillingAccount, running: None) -> None:
    assert not together(*[lambda: rate_open_intervals(until=LATER)] * 6)
    assert sum(UsageInterval.objects.values_list("billed_micros", flat=True)) == RUNS * 2_100_000
    assert_books(account)


def test_ticks_proofs_and_ends_do_not_wait_for_each_other_for_ever(
    account: BillingAccount, running: None
) -> None:
    everybody = [(number, 1) for number in range(RUNS)]

    def end(number: int) -> Callable[[], object]:
        at = START + timedelta(minutes=number)
        return lambda: close_interval("workload", number, 1, ended_at=at, fault=LOST)

    def ticks() -> None:
        for minute in range(0, 120, 10):
            rate_open_intervals(until=START + timedelta(minutes=minute))

    def proofs() -> None:
        for minute in range(0, 120, 5):
            prove("workload", everybody, at=LATER + timedelta(minutes=minute))

    assert not together(ticks, ticks, proofs, proofs, *[end(number) for number in range(RUNS)])
    assert UsageCredit.objects.count() == RUNS
    assert_books(account)


def test_an_end_heard_by_eight_is_credited_once(account: BillingAccount, running: None) -> None:
    deed: Callable[[], object] = lambda: close_interval(  # noqa: E731
        "workload", 1, 1, ended_at=LATER, fault=LOST
    )
    assert not together(*[deed] * 8)
    assert UsageCredit.objects.get().amount_micros == 2_100_000
    assert_books(account)


def test_a_size_told_by_eight_is_metered_once(account: BillingAccount, prices: Price) -> None:
    data = Resource("volume", 7, 0, "vol_7", "data")
    deed: Callable[[], object] = lambda: set_storage(  # noqa: E731
        account, data, gib=3, at=START, sku_code=prices.sku.code
    )
    assert not together(*[deed] * 8)
    assert UsageInterval.objects.get().quantity == 3


def test_credit_is_not_overspent_by_ticks_at_once(account: BillingAccount, running: None) -> None:
    UsageInterval.objects.update(billable_until=None)
    until = START + timedelta(hours=3)  # $75.60 of $50
    assert not together(*[lambda: rate_open_intervals(until=until)] * 6)
    assert account.lots.get().remaining_micros == 0
    assert_books(account)
    assert sum(UsageInterval.objects.values_list("billed_micros", flat=True)) > 50 * MICROS
