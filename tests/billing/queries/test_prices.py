"""Which price holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from billing.models import BillingAccount, Price, PriceBook
from billing.queries.prices import list_prices, price_for
from portal.lib.errors import NotFound

AT = datetime(2026, 5, 4, tzinfo=UTC)
ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), None)


def test_list_price_where_the_team_has_none_of_its_own(
    account: BillingAccount, prices: Price
) -> None:
    account.price_book = PriceBook.objects.create(name="Own")
    account.save()
    assert price_for(account, "a100-test", at=AT) == prices


def test_own_price_comes_before_the_list(account: BillingAccount, prices: Price) -> None:
    account.price_book = PriceBook.objects.create(name="Own")
    account.save()
    own = Price.objects.create(
        book=account.price_book, sku=prices.sku, unit_micros=1, valid_during=ALWAYS
    )
    assert price_for(account, "a100-test", at=AT) == own


def test_no_price_is_not_found(account: BillingAccount) -> None:
    with pytest.raises(NotFound):
        price_for(account, "nothing", at=AT)
    with pytest.raises(NotFound):
        price_for(account, "a100-test", at=datetime(2019, 1, 1, tzinfo=UTC))


def test_list_prices_are_those_of_the_instant(prices: Price) -> None:
    assert list_prices(at=AT) == {"a100-test": 2_100_000}
    assert list_prices(at=datetime(2019, 1, 1, tzinfo=UTC)) == {}


def test_two_prices_at_one_instant_are_refused(prices: Price) -> None:
    with pytest.raises(IntegrityError, match="price_no_overlap"), transaction.atomic():
        Price.objects.create(book=prices.book, sku=prices.sku, unit_micros=3, valid_during=ALWAYS)
