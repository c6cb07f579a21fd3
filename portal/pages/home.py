"""The landing page: what it is, what it costs, what is free now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.queries.prices import list_prices
from clusters.access import pools_of
from clusters.models import Pool
from clusters.queries.pools import with_counts
from portal.lib import clock
from portal.lib.money import cost_micros

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool as strangers see it, at its list price per GPU."""

    name: str
    pool: Pool
    micros_per_hour: int
    micros_per_minute: int
    gpus: int
    free: int


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """For everybody; who is signed in finds the way to the dashboard."""
    return render(request, "portal/home.html", {"offers": offers(), "at": clock.now()})


@require_safe
def home_pools(request: HttpRequest) -> HttpResponse:
    """The pools as they stand now; the landing page asks again and again."""
    response = render(request, "portal/home_pools.html", {"offers": offers(), "at": clock.now()})
    response["Cache-Control"] = "no-store"
    return response


def offers() -> list[Offer]:
    """The open pools that have a list price."""
    prices = list_prices(at=clock.now())
    counted: Iterable[Any] = with_counts(pools_of(None))
    return [
        Offer(
            name=pool.name.removesuffix(" (virtual)") if pool.is_virtual else pool.name,
            pool=pool,
            micros_per_hour=prices[pool.sku_code],
            micros_per_minute=cost_micros(prices[pool.sku_code], 1, MINUTE_US),
            gpus=pool.gpu_count,
            free=pool.free_count,
        )
        for pool in counted
        if pool.sku_code in prices
    ]
