"""What the panel beside a launch form says: price, hold, runway, and when it would start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse

from accounts.access import team_of
from accounts.actor import Actor
from billing.access import account_of
from billing.queries.funds import Funds, funds_of, runway_text
from clusters.actions.launching import Quote, quote
from clusters.models import Pool
from clusters.queries.attempts import is_queued_by_engine
from clusters.queries.pools import Room, longest_wait, room_of
from portal.lib.errors import NotFound
from portal.lib.money import MICROS, cost_micros

# What the panel beside the form depends on.
QUOTED = ("pool", "gpus", "nodes", "hours", "minutes")
MOST_GPUS = 10_000
MOST_SECONDS = 10 * 366 * 86_400
TOP_UP_STEP = 5 * MICROS


@dataclass(frozen=True, slots=True)
class Offer:
    """What the panel says: None where a thing is not known from what is typed so far."""

    pool: Pool
    gpus: int
    nodes: int
    time_limit_seconds: int
    price: Quote
    most_micros: int
    room: Room
    wait: timedelta | None
    is_queued_by_engine: bool
    fits: bool
    funds: Funds
    short_micros: int

    @property
    def gpus_left_over(self) -> int:
        """GPUs that equal shares of the nodes leave over."""
        return self.gpus % self.nodes

    @property
    def runway(self) -> str:
        """How long the balance lasts once this runs too, in words."""
        burn = self.funds.burn_micros_per_hour + self.price.micros_per_hour
        return runway_text(max(0, self.funds.spendable_micros * 3600 // burn) if burn else None)

    @property
    def top_up_url(self) -> str:
        """Where the credit that is missing can be added."""
        dollars = -(-self.short_micros // TOP_UP_STEP) * TOP_UP_STEP // MICROS
        return f"{reverse('top_up')}?amount={dollars}" if dollars > 0 else reverse("top_up")


def offer_of(actor: Actor, values: dict[str, Any], pools: Iterable[Pool]) -> Offer | None:
    """What is typed so far at a price; None while it is no order yet."""
    pool = next((pool for pool in pools if pool.slug == values.get("pool")), None)
    gpus = _whole(values.get("gpus"), most=MOST_GPUS)
    nodes = _whole(values.get("nodes") or 1, most=MOST_GPUS) or 1
    seconds = _seconds(values)
    if pool is None or not gpus or not seconds:
        return None
    try:
        price = quote(team_of(actor), pool=pool, gpus=gpus, time_limit_seconds=seconds)
    except NotFound:
        return None
    room = room_of(pool)
    fits = (
        gpus <= min(room.total, pool.max_gpus_per_workload)
        and nodes <= pool.max_nodes_per_workload
        and gpus % nodes == 0
    )
    is_queued = is_queued_by_engine(pool)
    funds = funds_of(account_of(actor))
    return Offer(
        pool=pool,
        gpus=gpus,
        nodes=nodes,
        time_limit_seconds=seconds,
        price=price,
        most_micros=cost_micros(price.micros_per_gpu_hour, gpus, seconds * 1_000_000),
        room=room,
        wait=longest_wait(pool, gpus=gpus) if fits and not is_queued else None,
        is_queued_by_engine=is_queued,
        fits=fits,
        funds=funds,
        short_micros=max(0, price.hold_micros - funds.available_micros),
    )


def _seconds(values: dict[str, Any]) -> int | None:
    hours = _whole(values.get("hours") or 0, most=MOST_SECONDS // 3600)
    minutes = _whole(values.get("minutes") or 0, most=MOST_SECONDS // 60)
    if hours is None or minutes is None:
        return None
    return hours * 3600 + minutes * 60


def _whole(value: Any, *, most: int) -> int | None:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return None
    return int(text) if int(text) <= most else None


def pool_choices(actor: Actor, pools: Iterable[Pool], chosen: Any) -> list[dict[str, Any]]:
    """The pools as a form offers them."""
    return [
        {
            "pool": pool,
            "room": room_of(pool),
            "price_micros": price_of(actor, pool),
            "is_queued_by_engine": is_queued_by_engine(pool),
            "is_chosen": pool.slug == chosen,
        }
        for pool in pools
    ]


def price_of(actor: Actor, pool: Pool) -> int | None:
    """One GPU for an hour; None where it is not sold."""
    try:
        return quote(team_of(actor), pool=pool, gpus=1, time_limit_seconds=3600).micros_per_hour
    except NotFound:
        return None


def split(seconds: int) -> dict[str, int]:
    """Seconds as hours and minutes, rounded up to a minute."""
    minutes = -(-seconds // 60)
    return {"hours": minutes // 60, "minutes": minutes % 60}
