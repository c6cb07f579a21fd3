"""Shapes of the API: what comes in, what goes out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.actions.launch_checks import MAX_COMMAND_BYTES, MAX_NAME
from clusters.choices import ENDINGS, Reason, WorkloadStatus
from clusters.models import Pool, Workload

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


class JobRequestSerializer(serializers.Serializer[Any]):
    """The body of POST /jobs."""

    name = StrictString(help_text=f"At most {MAX_NAME} characters.")
    pool = StrictString(help_text="Slug of a pool, from GET /pools.")
    gpus = StrictInteger(default=1, min_value=1, max_value=INT32)
    environment = StrictString(default="", help_text="Empty: the pool's first environment.")
    command = StrictString(help_text=f"Run by bash; at most {MAX_COMMAND_BYTES:,} bytes.")
    env = serializers.DictField(child=StrictString(), default=dict)
    time_limit_seconds = StrictInteger(default=3600, min_value=1, max_value=INT32)


class JobSerializer(serializers.Serializer[Workload]):
    """A job. Money in micro-units of the currency, times in UTC."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkloadStatus.choices)
    reason = serializers.ChoiceField(choices=Reason.choices)
    reason_text = serializers.SerializerMethodField()
    detail = serializers.CharField()
    pool = serializers.CharField(source="pool.slug")
    gpus = serializers.IntegerField()
    environment = serializers.CharField()
    command = serializers.CharField()
    env = serializers.DictField(child=serializers.CharField())
    time_limit_seconds = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    exit_code = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    price_micros_per_gpu_hour = serializers.IntegerField(source="price.micros_per_hour")
    billed_seconds = serializers.SerializerMethodField()
    cost_micros = serializers.SerializerMethodField()
    currency = serializers.CharField(source="price.book.currency")

    def get_reason_text(self, job: Workload) -> str:
        """The reason and what to do, in words."""
        reason = Reason(job.reason)
        advice = ENDINGS[reason].advice if reason in ENDINGS else ""
        return f"{reason.label}. {advice}".strip()

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_exit_code(self, job: Workload) -> int | None:
        """Exit code of the latest attempt."""
        attempts = list(job.attempts.all())
        return attempts[-1].exit_code if attempts else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_queue_position(self, job: Workload) -> int | None:
        """1 is next; null when the job does not wait."""
        positions: dict[int, int] = self.context["positions"]
        return positions.get(job.pk)

    def get_billed_seconds(self, job: Workload) -> float:
        """Seconds charged so far, to the microsecond."""
        seconds: dict[int, float] = self.context["seconds"]
        return seconds.get(job.pk, 0.0)

    def get_cost_micros(self, job: Workload) -> int:
        """Cost so far: floor(price x gpus x seconds / 3600)."""
        costs: dict[int, int] = self.context["costs"]
        return costs.get(job.pk, 0)


class PoolSerializer(serializers.Serializer[Pool]):
    """A pool with its price and what is free now."""

    slug = serializers.CharField()
    name = serializers.CharField()
    gpu_model = serializers.CharField()
    is_virtual = serializers.BooleanField()
    environments = serializers.ListField(child=serializers.CharField())
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


class JobListSerializer(serializers.Serializer[Any]):
    """A page of jobs, newest first; `next` is the value of `?before=` for the page after."""

    jobs = JobSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class LogSerializer(serializers.Serializer[Any]):
    """Log text from `offset`; ask again from `next_offset` until `complete`."""

    offset = serializers.IntegerField()
    next_offset = serializers.IntegerField()
    complete = serializers.BooleanField()
    text = serializers.CharField()
