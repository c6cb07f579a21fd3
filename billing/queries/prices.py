"""What things cost now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Q

from billing.models import BillingAccount, Price, PriceBook, Sku
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


def price_in(book: PriceBook, sku_code: str, *, at: datetime) -> Price | None:
    """What a SKU costs who pays by `book` at `at`: the book's price, else the list's."""
    prices = Price.objects.filter(
        Q(book=book) | Q(book__is_default=True, book__currency=book.currency),
        sku__code=sku_code,
        valid_during__contains=at,
    )
    return min(prices, key=lambda price: price.book_id != book.pk, default=None)


@dataclass(frozen=True, slots=True)
class Offer:
    """A SKU with its price now, None where it is not sold yet, and the changes announced."""

    sku: Sku
    now: Price | None
    coming: tuple[Price, ...]


def offers(account: BillingAccount | None, *, at: datetime) -> list[Offer]:
    """What is sold at `at` and later, at the prices of `account`, else at list prices."""
    own = account.price_book_id if account else None
    prices = Price.objects.select_related("sku", "book").filter(
        Q(book=own) | Q(book__is_default=True),
        Q(valid_during__endswith__gt=at) | Q(valid_during__upper_inf=True),
    )
    by_sku: dict[int, list[Price]] = defaultdict(list)
    for price in prices:
        by_sku[price.sku_id].append(price)
    found = [_offer(rows, own, at) for rows in by_sku.values()]
    return sorted(found, key=lambda offer: (offer.sku.meter, offer.sku.label, offer.sku.pk))


def _offer(rows: list[Price], own: int | None, at: datetime) -> Offer:
    """Of its own book where that says anything of the SKU, else of the list."""
    ours = [price for price in rows if price.book_id == own] or rows
    ours.sort(key=lambda price: price.valid_during.lower or at)
    now = next((price for price in ours if (price.valid_during.lower or at) <= at), None)
    coming, last = [], now
    for price in ours:
        is_later = price is not now
        if is_later and (last is None or price.unit_micros != last.unit_micros):
            coming.append(price)
        last = price
    return Offer(ours[0].sku, now, tuple(coming))


def prices_at(
    wanted: Collection[tuple[BillingAccount, str, datetime]],
) -> dict[tuple[int, str, datetime], Price]:
    """`price_for` for many `(account, SKU code, instant)` in one query, by account key, code and
    instant; without those for which there is none.
    """
    if not wanted:
        return {}
    times = [at for _, _, at in wanted]
    prices = Price.objects.select_related("sku", "book").filter(
        Q(book__in={account.price_book_id for account, _, _ in wanted}) | Q(book__is_default=True),
        sku__code__in={code for _, code, _ in wanted},
        valid_during__overlap=DateTimeTZRange(min(times), max(times), "[]"),
    )
    by_code: dict[str, list[Price]] = defaultdict(list)
    for price in prices:
        by_code[price.sku.code].append(price)
    found = {}
    for account, code, at in wanted:
        ours = [price for price in by_code[code] if _is_for(price, account, at)]
        if ours:
            best = min(ours, key=lambda price: price.book_id != account.price_book_id)
            found[account.pk, code, at] = best
    return found


def _is_for(price: Price, account: BillingAccount, at: datetime) -> bool:
    lower, upper = price.valid_during.lower, price.valid_during.upper
    is_ours = price.book_id == account.price_book_id or price.book.currency == account.currency
    return is_ours and (lower is None or lower <= at) and (upper is None or at < upper)


def list_prices(*, at: datetime) -> dict[str, int]:
    """The default book at `at`: SKU code to micro-units per unit and hour, rounded up."""
    prices = Price.objects.filter(book__is_default=True, valid_during__contains=at)
    return {price.sku.code: price.micros_per_hour for price in prices.select_related("sku")}
