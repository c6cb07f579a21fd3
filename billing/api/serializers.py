"""Shapes of the billing API."""

from __future__ import annotations

from rest_framework import serializers

from billing.queries.funds import Funds


class BalanceSerializer(serializers.Serializer[Funds]):
    """Money in micro-units (1e-6) of `currency`."""

    currency = serializers.CharField(help_text="ISO 4217, lower case.")
    balance_micros = serializers.IntegerField(
        help_text="Credit less debt and less what is used and not posted yet."
    )
    held_micros = serializers.IntegerField(help_text="Set aside for work that was launched.")
    available_micros = serializers.IntegerField(help_text="Balance less what is held.")
    burn_micros_per_hour = serializers.IntegerField(help_text="What runs now costs this an hour.")
    runway_seconds = serializers.IntegerField(
        allow_null=True, help_text="How long the balance lasts; null while nothing burns."
    )
