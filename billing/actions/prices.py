"""The price books: what is sold, what it costs from when on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from accounts.actions import audit
from accounts.actor import Actor
from accounts.choices import ActorKind
from billing.actions.accounts import default_book, lock_account
from billing.choices import Meter
from billing.models import Price, PriceBook, Sku, UsageInterval
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.prices import price_in
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.lib.money import MICROS

# More than any GPU costs an hour; a slip of the decimal point is caught here.
MAX_MICROS_PER_HOUR = 1_000 * MICROS
MAX_REASON = 300
MOST_AHEAD = timedelta(days=2 * 366)
UNITS = {Meter.GPU: ("GPU-hour", 1), Meter.STORAGE: ("GiB-month", HOURS_PER_MONTH)}


@transaction.atomic
def add_sku(
    actor: Actor, code: str, *, label: str, unit_micros: int, meter: Meter = Meter.GPU
) -> Price:
    """Sell something new at this list price: GPUs by the hour, storage by the GiB and month.

    Raises Conflict where the code is taken.
    """
    unit, _ = UNITS[meter]
    sku, is_new = Sku.objects.get_or_create(
        code=code, defaults={"label": label, "meter": meter, "unit": unit}
    )
    if not is_new:
        raise Conflict(f"Something is sold as {code} already.")
    return set_list_price(actor, sku.code, unit_micros=unit_micros)


def set_list_price(
    actor: Actor,
    code: str,
    *,
    unit_micros: int,
    starts_at: datetime | None = None,
    reason: str = "",
) -> Price:
    """`add_price` in the book of list prices."""
    return add_price(
        actor, default_book(), code, unit_micros=unit_micros, starts_at=starts_at, reason=reason
    )


@transaction.atomic
def add_price(
    actor: Actor,
    book: PriceBook,
    code: str,
    *,
    unit_micros: int,
    starts_at: datetime | None = None,
    reason: str = "",
) -> Price:
    """The price of one unit in `book` from `starts_at` on, from now on without it.

    What has begun keeps the price it had. A raise of something that was ever used is announced
    `PRICE_NOTICE_DAYS` ahead, or says for what `reason` it is not. Does nothing where that is the
    price already. Raises InvalidInput, NotFound, Conflict where a price begins at that instant or
    is in use after it.
    """
    _check_actor(actor)
    now = clock.now()
    start = starts_at or now
    _check(unit_micros, start, now, reason)
    book = PriceBook.objects.select_for_update(no_key=True).get(pk=book.pk)
    sku = Sku.objects.filter(code=code).first()
    if sku is None:
        raise NotFound("There is nothing of this name to sell.")
    prices = Price.objects.filter(book=book, sku=sku)
    used = UsageInterval.objects.filter(price__in=prices, started_at__gt=start)
    if last := used.aggregate(last=Max("started_at"))["last"]:
        # The clock was set back: what has begun keeps its price, the change comes right after it.
        if starts_at is not None:
            raise Conflict("The price was used after that instant already. Start it later.")
        start = last + timedelta(microseconds=1)
    current = prices.filter(valid_during__contains=start).first()
    if current is not None and current.unit_micros == unit_micros:
        return current
    before = price_in(book, sku.code, at=start)
    if before is not None and unit_micros > before.unit_micros:
        _check_notice(sku, start, now, reason)
    later = prices.filter(valid_during__startswith__gt=start).order_by("valid_during").first()
    if current is not None:
        if current.valid_during.lower == start:
            raise Conflict("The price was changed in this very moment. Try again.")
        current.valid_during = (current.valid_during.lower, start)
        current.save(update_fields=["valid_during"])
    audit.record(
        actor,
        "price.set",
        team=None,
        object_id=code,
        book=book.name,
        unit_micros=unit_micros,
        before=before.unit_micros if before else None,
        starts_at=start.isoformat(),
        reason=reason.strip(),
    )
    return Price.objects.create(
        book=book,
        sku=sku,
        unit_micros=unit_micros,
        unit_hours=UNITS[Meter(sku.meter)][1],
        valid_during=(start, later.valid_during.lower if later else None),
        published_at=now,
        reason=reason.strip(),
    )


@transaction.atomic
def withdraw_price(actor: Actor, price_id: int) -> None:
    """Take back a price that has not begun; what held before it goes on.

    Raises NotFound, Conflict where it has begun.
    """
    _check_actor(actor)
    found = Price.objects.select_related("sku").filter(pk=price_id).first()
    if found is None:
        raise NotFound("There is no such price.")
    PriceBook.objects.select_for_update(no_key=True).get(pk=found.book_id)
    start, end = found.valid_during.lower, found.valid_during.upper
    if start is None or start <= clock.now():
        raise Conflict("This price is in force. Set another one from now on instead.")
    found.delete()
    before = Price.objects.filter(
        book=found.book_id, sku=found.sku, valid_during__endswith=start
    ).first()
    if before is not None:
        Price.objects.create(
            book_id=found.book_id,
            sku=found.sku,
            unit_micros=before.unit_micros,
            unit_hours=before.unit_hours,
            valid_during=(start, end),
        )
    audit.record(actor, "price.withdrawn", team=None, object_id=found.sku.code)


@transaction.atomic
def open_book(actor: Actor, account_id: int) -> PriceBook:
    """The team's own book of negotiated prices, made where it has none.

    What the book has no price for costs what the list says.
    """
    _check_actor(actor)
    account = lock_account(account_id)
    book = account.price_book
    if not book.is_default:
        return book
    team = account.team
    book = PriceBook.objects.create(
        name=f"{team.name[:40]} ({team.public_id})", currency=account.currency
    )
    account.price_book = book
    account.save(update_fields=["price_book"])
    audit.record(actor, "price_book.opened", team=team, object_id=book.name)
    return book


def _check_actor(actor: Actor) -> None:
    is_staff = actor.user is not None and actor.user.is_staff
    if actor.kind != ActorKind.SYSTEM and not is_staff:
        raise NotAllowed("Only staff may set prices.")


def _check(unit_micros: int, start: datetime, now: datetime, reason: str) -> None:
    if isinstance(unit_micros, bool) or not isinstance(unit_micros, int):
        raise InvalidInput.of(price="A price is an amount of money.")
    if not 0 <= unit_micros <= MAX_MICROS_PER_HOUR:
        dollars = MAX_MICROS_PER_HOUR // MICROS
        raise InvalidInput.of(price=f"A price is between $0 and ${dollars:,} an hour.")
    if start < now:
        raise InvalidInput.of(starts_at="A price starts now or later.")
    if start > now + MOST_AHEAD:
        raise InvalidInput.of(starts_at="A price starts within two years.")
    if len(reason.strip()) > MAX_REASON or not reason.isprintable():
        raise InvalidInput.of(reason=f"Say why on one line, in at most {MAX_REASON} characters.")


def _check_notice(sku: Sku, start: datetime, now: datetime, reason: str) -> None:
    days = settings.PRICE_NOTICE_DAYS
    if reason.strip() or start >= now + timedelta(days=days):
        return
    if UsageInterval.objects.filter(sku=sku).exists():
        raise InvalidInput.of(
            starts_at=f"A raise is announced {days} days before it starts. Start it then, or say "
            "why it cannot wait."
        )
