"""/prices/: what things cost, and the changes that are announced. For everybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.documents.words import unit_price
from billing.models import Price
from billing.queries.prices import Offer, offers
from portal.lib import clock


@dataclass(frozen=True, slots=True)
class Change:
    """A price to come, in words."""

    price_text: str
    starts_at: datetime
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A SKU, its price now and what is announced."""

    label: str
    unit: str
    price_text: str
    changes: tuple[Change, ...]


@require_safe
def prices(request: HttpRequest) -> HttpResponse:
    """List prices now and to come."""
    lines = [_line(offer) for offer in offers(None, at=clock.now())]
    context = {
        "lines": lines,
        "has_changes": any(line.changes for line in lines),
        "notice_days": settings.PRICE_NOTICE_DAYS,
        "grace_seconds": settings.METER_GRACE_SECONDS,
    }
    return render(request, "billing/prices.html", context)


def _line(offer: Offer) -> Line:
    return Line(
        label=offer.sku.label,
        unit=offer.sku.unit,
        price_text=_text(offer.now) if offer.now else "Not sold yet",
        changes=tuple(
            Change(_text(price), price.valid_during.lower, price.published_at)
            for price in offer.coming
        ),
    )


def _text(price: Price) -> str:
    return unit_price(price.unit_micros, price.unit_hours)
