"""What things cost now."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from billing.models import BillingAccount, Price
from portal.lib.errors import NotFound


def price_for(account: BillingAccount, sku_code: str, *, at: datetime) -> Price:
    """The price `account` pays at `at`: of its own book, else of the default one.

    Raises NotFound when neither has one.
    """
    prices = Price.objects.select_related("book").filter(
        Q(book=account.price_book_id) | Q(book__is_default=True, book__currency=account.currency),
        sku__code=sku_code,
        valid_during__contains=at,
    )
    own_first = sorted(prices, key=lambda price: price.book_id != account.price_book_id)
    if not own_first:
        raise NotFound("There is no price for this at present.")
    return own_first[0]


def list_prices(*, at: datetime) -> dict[str, int]:
    """The default book at `at`: SKU code to micro-units per unit and hour, rounded up."""
    prices = Price.objects.filter(book__is_default=True, valid_during__contains=at)
    return {price.sku.code: price.micros_per_hour for price in prices.select_related("sku")}
