"""Prices that start later, negotiated ones, and what the database keeps of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from rest_framework.test import APIClient

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.metering import close_interval, rate_open_intervals
from billing.actions.price_notices import send_price_notices
from billing.actions.prices import (
    add_price,
    add_sku,
    open_book,
    set_list_price,
    withdraw_price,
)
from billing.choices import Meter
from billing.models import BillingAccount, Price, PriceNotice
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.prices import price_for
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, NotFound
from tests.billing.books import assert_books
from tests.billing.conftest import START, Hands, Metered

SYSTEM = Actor.system("tests")
CODE = "a100-test"
LATER = timedelta(days=20)


def test_a_price_may_start_later(account: BillingAccount, prices: Price, hands: Hands) -> None:
    coming = set_list_price(SYSTEM, CODE, unit_micros=3_000_000, starts_at=START + LATER)
    assert price_for(account, CODE, at=START).unit_micros == 2_100_000
    assert price_for(account, CODE, at=START + LATER) == coming
    assert coming.published_at == START


def test_a_price_that_passes_while_work_runs_leaves_it_alone(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    set_list_price(SYSTEM, CODE, unit_micros=9_000_000, starts_at=START + LATER)
    rate_open_intervals(until=hands.forward(days=21))
    hands.forward(hours=1)
    closed = close_interval("workload", 1, 1, ended_at=hands.now)
    assert closed is not None
    assert closed.billed_micros == 2_100_000 * (21 * 24 + 1)
    assert_books(account)


def test_a_raise_without_notice_is_refused(metered: Metered, hands: Hands) -> None:
    metered()
    with pytest.raises(InvalidInput, match="14 days"):
        set_list_price(SYSTEM, CODE, unit_micros=2_100_001, starts_at=START + timedelta(days=13))


def test_a_raise_with_a_reason_needs_no_notice(metered: Metered, hands: Hands) -> None:
    metered()
    price = set_list_price(SYSTEM, CODE, unit_micros=2_200_000, reason="power costs twice as much")
    assert price.reason == "power costs twice as much"


def test_a_change_after_the_clock_was_set_back_comes_after_what_has_begun(
    metered: Metered, hands: Hands
) -> None:
    metered(at=hands.forward(minutes=10))
    hands.forward(minutes=-5)
    price = set_list_price(SYSTEM, CODE, unit_micros=1)
    price.refresh_from_db()
    assert price.valid_during.lower == START + timedelta(minutes=10, microseconds=1)
    with pytest.raises(Conflict, match="was used after that"):
        set_list_price(SYSTEM, CODE, unit_micros=2, starts_at=hands.now)


def test_lowering_a_price_needs_no_notice(metered: Metered, hands: Hands) -> None:
    metered()
    assert set_list_price(SYSTEM, CODE, unit_micros=1).unit_micros == 1


def test_what_nobody_ever_used_may_be_raised_at_once(prices: Price, hands: Hands) -> None:
    assert set_list_price(SYSTEM, CODE, unit_micros=9_000_000).unit_micros == 9_000_000


@pytest.mark.parametrize("amount", [-1, 9 * 10**18, float("nan"), 1.5, True, "1"])
def test_an_amount_that_is_no_price_is_refused(prices: Price, amount: Any) -> None:
    with pytest.raises(InvalidInput):
        set_list_price(SYSTEM, CODE, unit_micros=amount)


@pytest.mark.parametrize("days", [-1, 1000])
def test_a_start_in_the_past_or_far_away_is_refused(prices: Price, hands: Hands, days: int) -> None:
    with pytest.raises(InvalidInput):
        set_list_price(SYSTEM, CODE, unit_micros=1, starts_at=START + timedelta(days=days))


@pytest.mark.parametrize("reason", ["a\0b", "two\nlines", "x" * 301])
def test_a_reason_that_is_no_sentence_is_refused(prices: Price, reason: str) -> None:
    with pytest.raises(InvalidInput):
        set_list_price(SYSTEM, CODE, unit_micros=1, reason=reason)


def test_what_is_not_sold_has_no_price(prices: Price) -> None:
    with pytest.raises(NotFound):
        set_list_price(SYSTEM, "nothing", unit_micros=1)


def test_only_staff_set_prices(actor: Actor, prices: Price) -> None:
    with pytest.raises(NotAllowed):
        set_list_price(actor, CODE, unit_micros=1)


def test_storage_is_sold_by_the_month(db: None) -> None:
    price = add_sku(SYSTEM, "files", label="Files", unit_micros=70_000, meter=Meter.STORAGE)
    assert (price.unit_hours, price.sku.unit) == (HOURS_PER_MONTH, "GiB-month")


def test_a_team_pays_its_own_price_and_the_list_for_the_rest(
    account: BillingAccount, prices: Price, charlie: User
) -> None:
    add_sku(SYSTEM, "h100", label="H100", unit_micros=4_000_000)
    book = open_book(SYSTEM, account.pk)
    own = add_price(SYSTEM, book, CODE, unit_micros=1_000_000)
    account.refresh_from_db()
    assert open_book(SYSTEM, account.pk) == book
    assert price_for(account, CODE, at=clock.now()) == own
    assert price_for(account, "h100", at=clock.now()).unit_micros == 4_000_000
    other = BillingAccount.objects.exclude(pk=account.pk).get()
    assert price_for(other, CODE, at=clock.now()) == prices


def test_a_negotiated_price_above_the_list_is_a_raise(
    account: BillingAccount, metered: Metered
) -> None:
    metered()
    with pytest.raises(InvalidInput):
        add_price(SYSTEM, open_book(SYSTEM, account.pk), CODE, unit_micros=2_200_000)


def test_a_withdrawn_price_leaves_the_one_before(account: BillingAccount, prices: Price) -> None:
    later = clock.now() + LATER
    coming = set_list_price(SYSTEM, CODE, unit_micros=3_000_000, starts_at=later)
    withdraw_price(SYSTEM, coming.pk)
    assert price_for(account, CODE, at=later + LATER).unit_micros == 2_100_000


def test_a_price_in_force_is_not_withdrawn(prices: Price) -> None:
    with pytest.raises(Conflict):
        withdraw_price(SYSTEM, prices.pk)


@pytest.mark.parametrize(
    "change",
    [
        {"unit_micros": 1},
        {"unit_hours": 730},
        {"published_at": START},
        {"valid_during": (datetime(2020, 1, 2, tzinfo=START.tzinfo), None)},
        {"valid_during": (datetime(2020, 1, 1, tzinfo=START.tzinfo), START - LATER)},
    ],
)
def test_the_database_keeps_a_price_that_is_used(
    prices: Price, metered: Metered, change: dict[str, Any]
) -> None:
    metered()
    with pytest.raises(IntegrityError, match="is kept"), transaction.atomic():
        Price.objects.filter(pk=prices.pk).update(**change)


def test_the_end_of_a_price_never_moves_away(prices: Price) -> None:
    first = prices.valid_during[0]
    Price.objects.filter(pk=prices.pk).update(valid_during=(first, START))
    with pytest.raises(IntegrityError, match="is kept"), transaction.atomic():
        Price.objects.filter(pk=prices.pk).update(valid_during=(first, None))


def test_a_price_in_force_cannot_be_deleted(prices: Price) -> None:
    with pytest.raises(IntegrityError, match="is kept"), transaction.atomic():
        prices.delete()


def test_teams_that_use_it_are_told_once(
    metered: Metered, team: Team, charlie: User, hands: Hands
) -> None:
    metered()
    price = set_list_price(SYSTEM, CODE, unit_micros=3_000_000, starts_at=START + LATER)
    assert (send_price_notices(), send_price_notices()) == (1, 0)
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]
    assert "24 May 2026" in mail.outbox[0].subject
    assert "$3.00/h" in mail.outbox[0].body
    assert "until then $2.10/h" in mail.outbox[0].body
    assert PriceNotice.objects.get().price == price


def test_who_used_it_long_ago_is_not_told(metered: Metered, hands: Hands) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=1))
    set_list_price(SYSTEM, CODE, unit_micros=1, starts_at=START + timedelta(days=90))
    hands.forward(days=31)
    assert send_price_notices() == 0


def test_who_pays_another_price_is_not_told(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    add_price(SYSTEM, open_book(SYSTEM, account.pk), CODE, unit_micros=1_000_000)
    set_list_price(SYSTEM, CODE, unit_micros=3_000_000, starts_at=START + LATER)
    assert send_price_notices() == 0


def test_the_page_shows_prices_and_what_is_announced(prices: Price) -> None:
    later = clock.now() + LATER
    set_list_price(SYSTEM, CODE, unit_micros=3_000_000, starts_at=later)
    page = Client().get("/prices/").content.decode()
    assert "$2.10/h" in page
    assert f"$3.00/h from {later.day} {later:%b %Y}" in page


def test_the_api_says_what_the_team_pays_and_will(
    api: APIClient, account: BillingAccount, prices: Price
) -> None:
    add_price(SYSTEM, open_book(SYSTEM, account.pk), CODE, unit_micros=1_000_000)
    later = clock.now() + LATER
    add_price(SYSTEM, open_book(SYSTEM, account.pk), CODE, unit_micros=900_000, starts_at=later)
    (offer,) = api.get("/api/v1/prices").json()
    assert (offer["sku"], offer["price"]["unit_micros"]) == (CODE, 1_000_000)
    assert offer["price"]["is_negotiated"]
    assert [price["unit_micros"] for price in offer["coming"]] == [900_000]


@pytest.fixture
def console(dora: User) -> Client:
    browser = Client()
    browser.force_login(dora)
    return browser


def test_staff_announce_a_price_in_the_console(console: Client, prices: Price) -> None:
    day = (clock.now() + LATER).date()
    form = {"sku": prices.sku_id, "price": "3.10", "starts_on": day.isoformat(), "reason": ""}
    answer = console.post("/admin/billing/price/set/", form)
    assert answer.status_code == 302, answer.content.decode()[-2000:]
    assert Price.objects.get(unit_micros=3_100_000).valid_during.lower.date() == day


def test_staff_negotiate_a_price_in_the_console(
    console: Client, account: BillingAccount, prices: Price
) -> None:
    path = f"/admin/billing/billingaccount/{account.pk}/own-prices/"
    assert console.get(path).status_code == 200
    console.post(path, {"sku": prices.sku_id, "price": "1", "starts_on": "", "reason": ""})
    account.refresh_from_db()
    assert price_for(account, CODE, at=clock.now()).unit_micros == 1_000_000


def test_staff_withdraw_a_price_in_the_console(console: Client, prices: Price) -> None:
    coming = set_list_price(SYSTEM, CODE, unit_micros=9, starts_at=clock.now() + LATER)
    path = f"/admin/billing/price/{coming.pk}/withdraw/"
    assert console.get(path).status_code == 200
    console.post(path)
    assert not Price.objects.filter(unit_micros=9).exists()


def test_strangers_do_not_set_prices(alice: User, team: Team, prices: Price) -> None:
    browser = Client()
    browser.force_login(alice)
    assert browser.post("/admin/billing/price/set/", {"price": "1"}).status_code in {302, 403}
    assert Price.objects.count() == 1
