"""Prices: what is sold, and what it costs from now on."""

from __future__ import annotations

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import default_book
from billing.models import Price, PriceBook, Sku
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.money import MICROS

# More than any GPU costs an hour; a slip of the decimal point is caught here.
MAX_MICROS_PER_HOUR = 1_000 * MICROS


@transaction.atomic
def add_sku(actor: Actor, code: str, *, label: str, micros_per_hour: int) -> Price:
    """Sell something new at this list price. Raises Conflict where the code is taken."""
    sku, is_new = Sku.objects.get_or_create(code=code, defaults={"label": label})
    if not is_new:
        raise Conflict(f"Something is sold as {code} already.")
    return set_list_price(actor, sku.code, micros_per_hour=micros_per_hour)


@transaction.atomic
def set_list_price(actor: Actor, code: str, *, micros_per_hour: int) -> Price:
    """The list price of one unit and hour from now on; what has begun keeps the price it had.

    Does nothing where that is the price already. Raises InvalidInput for a price that cannot be.
    """
    if not 0 <= micros_per_hour <= MAX_MICROS_PER_HOUR:
        dollars = MAX_MICROS_PER_HOUR // MICROS
        raise InvalidInput.of(price=f"A price is between $0 and ${dollars:,} an hour.")
    book = PriceBook.objects.select_for_update(no_key=True).get(pk=default_book().pk)
    sku = Sku.objects.get(code=code)
    now = clock.now()
    prices = Price.objects.filter(book=book, sku=sku)
    current = prices.filter(valid_during__contains=now).first()
    if current is not None and current.unit_micros == micros_per_hour:
        return current
    later = prices.filter(valid_during__startswith__gt=now).order_by("valid_during").first()
    until = later.valid_during.lower if later else None
    if current is not None:
        if current.valid_during.lower == now:
            raise Conflict("The price was changed in this very moment. Try again.")
        current.valid_during = (current.valid_during.lower, now)
        current.save(update_fields=["valid_during"])
    audit.record(
        actor,
        "price.set",
        team=None,
        object_id=code,
        micros_per_hour=micros_per_hour,
        before=current.unit_micros if current else None,
    )
    return Price.objects.create(
        book=book, sku=sku, unit_micros=micros_per_hour, valid_during=(now, until)
    )
