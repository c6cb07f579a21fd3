"""Shapes of the API: what comes in, what goes out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.backends.base import OutputFile
from clusters.models import Pool

INT32 = 2**31 - 1


class StrictInteger(serializers.IntegerField):
    """A JSON number without a fraction: neither a string nor true."""

    def to_internal_value(self, data: Any) -> int:
        """The number. Raises ValidationError for any other type."""
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("A whole number is needed.")
        return super().to_internal_value(data)


class StrictString(serializers.CharField):
    """A JSON string: numbers are not turned into one. What it may hold the action decides."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)
        self.validators = []

    def to_internal_value(self, data: Any) -> str:
        """The string. Raises ValidationError for any other type."""
        if not isinstance(data, str):
            raise serializers.ValidationError("A string is needed.")
        return data

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """An empty string is for the action to judge, with its own sentence."""
        return data if data == "" else super().run_validation(data)


class PoolSerializer(serializers.Serializer[Pool]):
    """A pool with its price and what is free now."""

    slug = serializers.CharField()
    name = serializers.CharField()
    gpu_model = serializers.CharField()
    is_virtual = serializers.BooleanField()
    environments = serializers.ListField(
        source="offered_environments", child=serializers.CharField()
    )
    gpus = serializers.IntegerField(source="gpu_count")
    gpus_free = serializers.IntegerField(source="free_count")
    max_gpus_per_workload = serializers.IntegerField()
    max_time_limit_seconds = serializers.IntegerField()
    price_micros_per_gpu_hour = serializers.SerializerMethodField()
    may_start = serializers.BooleanField()
    isolation = serializers.CharField()

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_price_micros_per_gpu_hour(self, pool: Pool) -> int | None:
        """List price; null where none is set."""
        prices: dict[str, int] = self.context["prices"]
        return prices.get(pool.sku_code)


class LogSerializer(serializers.Serializer[Any]):
    """Log text of one attempt from `offset`; ask again from `next_offset` until `complete`.

    When `attempt` changes, a retry has begun: its log starts at 0.
    """

    attempt = serializers.IntegerField()
    offset = serializers.IntegerField()
    next_offset = serializers.IntegerField()
    complete = serializers.BooleanField()
    text = serializers.CharField()


class FileSerializer(serializers.Serializer[OutputFile]):
    """A file an attempt left; its path is that of GET /jobs/{id}/files/{path}."""

    path = serializers.CharField()
    size_bytes = serializers.IntegerField()
    modified_at = serializers.DateTimeField()


class FileListSerializer(serializers.Serializer[Any]):
    """Files of one attempt, by path; `more` counts those left out of a very long list."""

    attempt = serializers.IntegerField()
    files = FileSerializer(many=True)
    more = serializers.IntegerField()
