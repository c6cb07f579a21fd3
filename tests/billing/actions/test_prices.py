"""A change of price holds from now on, and for nothing that began before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.actor import Actor
from accounts.models import AuditEvent
from billing.actions.prices import MAX_MICROS_PER_HOUR, add_sku, set_list_price
from billing.models import BillingAccount, Price, PriceBook
from billing.queries.prices import price_for
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput

SYSTEM = Actor.system("tests")


def test_a_new_price_holds_from_now_on(account: BillingAccount, prices: Price) -> None:
    before = clock.now()
    new = set_list_price(SYSTEM, "a100-test", unit_micros=3_000_000)
    assert price_for(account, "a100-test", at=clock.now()) == new
    assert price_for(account, "a100-test", at=before) == prices
    assert prices.micros_per_hour == 2_100_000


def test_the_same_price_changes_nothing(prices: Price) -> None:
    set_list_price(SYSTEM, "a100-test", unit_micros=2_100_000)
    assert Price.objects.get() == prices
    assert not AuditEvent.objects.filter(verb="price.set").exists()


def test_a_change_says_what_it_was(prices: Price) -> None:
    set_list_price(SYSTEM, "a100-test", unit_micros=3_000_000)
    event = AuditEvent.objects.get(verb="price.set")
    assert event.object_id == "a100-test"
    assert (event.detail["unit_micros"], event.detail["before"]) == (3_000_000, 2_100_000)


def test_a_change_that_is_planned_stays_planned(account: BillingAccount, prices: Price) -> None:
    soon = clock.now() + timedelta(days=1)
    Price.objects.filter(pk=prices.pk).update(valid_during=(prices.valid_during[0], soon))
    planned = Price.objects.create(
        book=prices.book, sku=prices.sku, unit_micros=9, valid_during=(soon, None)
    )
    set_list_price(SYSTEM, "a100-test", unit_micros=3_000_000)
    assert price_for(account, "a100-test", at=soon) == planned


@pytest.mark.parametrize("micros", [-1, MAX_MICROS_PER_HOUR + 1])
def test_a_price_that_cannot_be_is_refused(prices: Price, micros: int) -> None:
    with pytest.raises(InvalidInput):
        set_list_price(SYSTEM, "a100-test", unit_micros=micros)


def test_what_is_sold_already_is_not_sold_again(prices: Price) -> None:
    with pytest.raises(Conflict):
        add_sku(SYSTEM, "a100-test", label="Another", unit_micros=1)
    assert Price.objects.get() == prices


def test_the_first_price_of_all_makes_the_book(db: None) -> None:
    price = add_sku(SYSTEM, "h100", label="H100", unit_micros=4_000_000)
    assert price.book == PriceBook.objects.get(is_default=True)
