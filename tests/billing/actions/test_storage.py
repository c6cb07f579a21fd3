"""Storage is metered by GiB and month, and every change of size is exact to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.actor import Actor
from billing.actions.metering import Resource, rate_open_intervals
from billing.actions.prices import add_sku, set_list_price
from billing.actions.storage import end_storage, set_storage
from billing.choices import Meter
from billing.models import BillingAccount, RatedUsage, UsageInterval
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.funds import funds_of
from billing.queries.usage import cost_of, usage_by_resource
from portal.lib.errors import InvalidInput, NotFound
from portal.lib.money import MICROS, cost_micros
from tests.billing.books import assert_books
from tests.billing.conftest import START, Hands

DATA = Resource("volume", 7, 0, "vol_7", "data")
MONTHLY = 70_000
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _sold(prices: object, hands: Hands, settings: Any) -> None:
    settings.STORAGE_SKU = "storage"
    hands.now = START - timedelta(days=1)
    add_sku(Actor.system(), "storage", label="Storage", unit_micros=MONTHLY, meter=Meter.STORAGE)
    hands.now = START


def owed(gib: int, span: timedelta) -> int:
    microseconds = span // timedelta(microseconds=1)
    return cost_micros(MONTHLY, gib, microseconds, unit_hours=HOURS_PER_MONTH)


def test_a_change_of_size_leaves_no_gap_and_no_overlap(
    account: BillingAccount, hands: Hands
) -> None:
    set_storage(account, DATA, gib=100, at=START)
    changed = hands.forward(days=3, microseconds=1)
    set_storage(account, DATA, gib=250, at=changed)
    first, second = UsageInterval.objects.order_by("resource_attempt")
    assert (first.ended_at, second.started_at) == (changed, changed)
    assert [first.quantity, second.quantity] == [100, 250]
    hands.forward(hours=5)
    assert cost_of("volume", [7]) == {
        7: owed(100, timedelta(days=3, microseconds=1)) + owed(250, timedelta(hours=5))
    }


def test_the_same_size_again_is_no_change(account: BillingAccount, hands: Hands) -> None:
    first = set_storage(account, DATA, gib=100, at=START)
    assert set_storage(account, DATA, gib=100, at=hands.forward(hours=1)) == first


def test_an_end_may_be_told_twice(account: BillingAccount, hands: Hands) -> None:
    set_storage(account, DATA, gib=100, at=START)
    for _ in range(2):
        end_storage(account, DATA, at=hands.forward(hours=1))
    assert UsageInterval.objects.get().ended_at == START + timedelta(hours=1)
    assert_books(account)


def test_what_ended_may_begin_again(account: BillingAccount, hands: Hands) -> None:
    set_storage(account, DATA, gib=100, at=START)
    end_storage(account, DATA, at=hands.forward(hours=1))
    again = set_storage(account, DATA, gib=100, at=hands.forward(hours=1))
    assert again is not None
    assert again.resource_attempt == 2


def test_months_are_cut_exactly(account: BillingAccount, hands: Hands) -> None:
    hands.now = JUNE - timedelta(hours=7, microseconds=3)
    begin = hands.now
    set_storage(account, DATA, gib=999, at=begin)
    rate_open_intervals(until=hands.forward(hours=1))
    hands.now = JUNE + timedelta(hours=11)
    end_storage(account, DATA, at=hands.now)
    may, june = RatedUsage.objects.order_by("segment_start")
    assert (may.segment_end, june.segment_start) == (JUNE, JUNE)
    assert may.amount_micros == owed(999, JUNE - begin)
    assert may.amount_micros + june.amount_micros == owed(999, hands.now - begin)
    assert_books(account)


def test_it_burns_and_is_shown_without_any_proof(account: BillingAccount, hands: Hands) -> None:
    set_storage(account, DATA, gib=1000, at=START)
    hands.forward(days=5)
    cost = owed(1000, timedelta(days=5))
    assert funds_of(account).burn_micros_per_hour == -(-MONTHLY * 1000 // HOURS_PER_MONTH)
    assert funds_of(account).balance_micros == 50 * MICROS - cost
    (line,) = usage_by_resource(account, start=START, end=JUNE)
    assert (line.amount_micros, line.parts[0].unit) == (cost, "GiB-month")


def test_a_change_takes_the_price_of_its_instant(account: BillingAccount, hands: Hands) -> None:
    set_storage(account, DATA, gib=100, at=START)
    set_list_price(Actor.system(), "storage", unit_micros=1000)
    later = set_storage(account, DATA, gib=101, at=hands.forward(hours=1))
    assert later is not None
    assert later.price.unit_micros == 1000


@pytest.mark.parametrize("gib", [-1, 9 * 10**18, float("nan"), 1.5, True])
def test_a_size_that_cannot_be_is_refused(account: BillingAccount, gib: Any) -> None:
    with pytest.raises(InvalidInput):
        set_storage(account, DATA, gib=gib, at=START)


def test_a_change_before_the_last_one_is_refused(account: BillingAccount, hands: Hands) -> None:
    set_storage(account, DATA, gib=100, at=START)
    with pytest.raises(InvalidInput):
        set_storage(account, DATA, gib=200, at=START - timedelta(seconds=1))
    with pytest.raises(InvalidInput):
        set_storage(account, DATA, gib=200, at=START + timedelta(seconds=1))


def test_storage_that_is_not_sold_is_not_metered(account: BillingAccount) -> None:
    with pytest.raises(NotFound):
        set_storage(account, DATA, gib=1, at=START, sku_code="tape")
