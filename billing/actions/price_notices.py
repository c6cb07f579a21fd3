"""Tells each team that uses something of a change of its price that is announced."""

from __future__ import annotations

from datetime import timedelta

from billing.actions.telling import tell_once
from billing.emails import send_price_change
from billing.models import BillingAccount, Price, PriceNotice, UsageInterval
from billing.queries.prices import price_in
from portal.lib import clock

# Who used it in this time before the notice is told.
USED_WITHIN = timedelta(days=30)


def send_price_notices() -> int:
    """One mail a price and team, however often this runs; returns how many were sent."""
    now = clock.now()
    for price in Price.objects.select_related("sku").filter(valid_during__startswith__gt=now):
        _note(price)
    waiting = PriceNotice.objects.filter(
        sent_at__isnull=True, price__valid_during__startswith__gt=now
    )
    return sum(_send(key) for key in list(waiting.values_list("pk", flat=True)))


def _note(price: Price) -> None:
    """Keep who is to be told of `price`: those who used its SKU lately and will pay it."""
    start = price.valid_during.lower
    since = clock.now() - USED_WITHIN
    used = UsageInterval.objects.filter(sku=price.sku, rated_until__gte=since)
    accounts = BillingAccount.objects.select_related("price_book").filter(
        pk__in=used.values("account")
    )
    before = {}
    for account in accounts.exclude(price_notices__price=price):
        book = account.price_book
        if book.pk not in before:
            paid = price_in(book, price.sku.code, at=clock.now())
            before[book.pk] = paid.unit_micros if paid else None
        if price_in(book, price.sku.code, at=start) == price and before[book.pk] != (
            price.unit_micros
        ):
            PriceNotice.objects.get_or_create(price=price, account=account)


def _send(notice_id: int) -> bool:
    def send() -> None:
        notice = PriceNotice.objects.select_related(
            "price__sku", "account__team", "account__price_book"
        ).get(pk=notice_id)
        current = price_in(notice.account.price_book, notice.price.sku.code, at=clock.now())
        send_price_change(notice.account.team, notice.price, current)

    return tell_once(PriceNotice.objects.filter(pk=notice_id), send, noted="sent_at")
