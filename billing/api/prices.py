"""/api/v1/prices"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from billing.access import account_of
from billing.models import Price
from billing.queries.prices import Offer, offers
from portal.lib import clock
from portal.lib.rest import ErrorSerializer


class PriceSerializer(serializers.Serializer[Any]):
    """Micro-units of the currency per unit and `unit_hours` hours, from `starts_at` on."""

    unit_micros = serializers.IntegerField()
    unit_hours = serializers.IntegerField()
    currency = serializers.CharField()
    starts_at = serializers.DateTimeField(allow_null=True)
    published_at = serializers.DateTimeField()
    is_negotiated = serializers.BooleanField()


class OfferSerializer(serializers.Serializer[Any]):
    """Something that is sold, its price now and the changes announced, oldest first."""

    sku = serializers.CharField()
    name = serializers.CharField()
    meter = serializers.CharField()
    unit = serializers.CharField()
    price = PriceSerializer(allow_null=True)
    coming = PriceSerializer(many=True)


class PricesView(APIView):
    """Prices."""

    @extend_schema(
        operation_id="prices", responses={200: OfferSerializer(many=True), "4XX": ErrorSerializer}
    )
    def get(self, request: Request) -> Response:
        """What the team pays now, and what it will: its own prices before the list's."""
        account = account_of(actor_of(request))
        found = [_offer(offer) for offer in offers(account, at=clock.now())]
        return Response(OfferSerializer(found, many=True).data)


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "sku": offer.sku.code,
        "name": offer.sku.label,
        "meter": offer.sku.meter,
        "unit": offer.sku.unit,
        "price": _price(offer.now) if offer.now else None,
        "coming": [_price(price) for price in offer.coming],
    }


def _price(price: Price) -> dict[str, Any]:
    return {
        "unit_micros": price.unit_micros,
        "unit_hours": price.unit_hours,
        "currency": price.book.currency,
        "starts_at": price.valid_during.lower,
        "published_at": price.published_at,
        "is_negotiated": not price.book.is_default,
    }
