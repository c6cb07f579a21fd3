"""Shapes of the API: what comes in, what goes out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.actions.budgets import MAX_BUDGET_MICROS
from clusters.actions.request_checks import (
    MAX_COMMAND_BYTES,
    MAX_NAME,
    MAX_PROJECT,
    MAX_RETRIES,
)
from clusters.backends.base import OutputFile
from clusters.choices import ENDINGS, AttemptState, Reason, WorkloadStatus
from clusters.models import Attempt, Pool, Workload
from clusters.queries.attempts import AttemptFacts, Unseen

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
    gpus = StrictInteger(
        default=1, min_value=1, max_value=INT32, help_text="In all, shared equally by the nodes."
    )
    nodes = StrictInteger(
        default=1,
        min_value=1,
        max_value=INT32,
        help_text="The command runs once on each. Above 1 only in pools that offer it.",
    )
    retries = StrictInteger(
        default=0,
        min_value=0,
        max_value=MAX_RETRIES,
        help_text="How often it is run again when the command ends with an error. Lost machines "
        "are retried always; exit code 75 asks to be run again.",
    )
    environment = StrictString(default="", help_text="Empty: the pool's first environment.")
    command = StrictString(help_text=f"Run by bash; at most {MAX_COMMAND_BYTES:,} bytes.")
    env = serializers.DictField(child=StrictString(), default=dict)
    time_limit_seconds = StrictInteger(default=3600, min_value=1, max_value=INT32)
    project = StrictString(
        default="",
        help_text=f"A label of the team's own to split cost by; at most {MAX_PROJECT} characters.",
    )
    max_cost_micros = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MAX_BUDGET_MICROS,
        help_text="The run is stopped when it has come to this, in micro-units; 0: no limit.",
    )


class JobSerializer(serializers.Serializer[Workload]):
    """A job. Money in micro-units of the currency, times in UTC."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    project = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkloadStatus.choices)
    reason = serializers.ChoiceField(choices=Reason.choices)
    reason_text = serializers.SerializerMethodField()
    detail = serializers.CharField()
    pool = serializers.CharField(source="pool.slug")
    gpus = serializers.IntegerField()
    nodes = serializers.IntegerField()
    retries = serializers.IntegerField(source="max_retries")
    environment = serializers.CharField()
    command = serializers.CharField()
    env = serializers.DictField(child=serializers.CharField())
    time_limit_seconds = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    attempt = serializers.SerializerMethodField()
    exit_code = serializers.SerializerMethodField()
    is_unknown = serializers.SerializerMethodField()
    unknown_since = serializers.SerializerMethodField()
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
        latest = self._latest(job)
        return latest.exit_code if latest else None

    def get_attempt(self, job: Workload) -> int:
        """Number of the latest attempt; 1 is the first."""
        latest = self._latest(job)
        return latest.number if latest else 0

    def get_is_unknown(self, job: Workload) -> bool:
        """Whether its engine tells nothing of it at present: neither ended nor failed by that."""
        return self._unseen(job) is not None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_unknown_since(self, job: Workload) -> str | None:
        """Since when; null while it is known."""
        unseen = self._unseen(job)
        return serializers.DateTimeField().to_representation(unseen.since) if unseen else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_queue_position(self, job: Workload) -> int | None:
        """1 is next; null when the job does not wait, or a cluster's own queue orders it."""
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

    def _latest(self, job: Workload) -> Attempt | None:
        latest: dict[int, Attempt] = self.context["latest"]
        return latest.get(job.pk)

    def _unseen(self, job: Workload) -> Unseen | None:
        unseen: dict[int, Unseen] = self.context["unseen"]
        return unseen.get(job.pk)


class AttemptSerializer(serializers.Serializer[AttemptFacts]):
    """One placement of a job. `reason` is empty until it has ended."""

    number = serializers.IntegerField()
    state = serializers.ChoiceField(source="attempt.state", choices=AttemptState.choices)
    node = serializers.CharField(source="attempt.node")
    engine_id = serializers.CharField(
        source="attempt.engine_id", help_text="Its number in the cluster's own queue, if any."
    )
    created_at = serializers.DateTimeField(source="attempt.created_at")
    not_before = serializers.DateTimeField(source="attempt.not_before", allow_null=True)
    started_at = serializers.DateTimeField(source="attempt.started_at", allow_null=True)
    ended_at = serializers.DateTimeField(source="attempt.ended_at", allow_null=True)
    exit_code = serializers.IntegerField(source="attempt.exit_code", allow_null=True)
    reason = serializers.ChoiceField(
        source="attempt.reason", choices=Reason.choices, allow_blank=True
    )
    reason_text = serializers.SerializerMethodField()
    detail = serializers.CharField(source="attempt.detail")
    billed_seconds = serializers.FloatField()
    cost_micros = serializers.IntegerField()

    def get_reason_text(self, facts: AttemptFacts) -> str:
        """Why it ended, in words."""
        reason = facts.attempt.reason
        return f"{Reason(reason).label}." if reason else ""


class JobDetailSerializer(JobSerializer):
    """A job with every attempt, oldest first."""

    attempts = serializers.SerializerMethodField()

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, job: Workload) -> list[dict[str, Any]]:
        """Each placement and what it cost."""
        facts: Any = self.context["attempts"][job.pk]  # the stubs know a single instance only
        return list(AttemptSerializer(facts, many=True).data)


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


class JobListSerializer(serializers.Serializer[Any]):
    """A page of jobs, newest first; `next` is the value of `?before=` for the page after."""

    jobs = JobSerializer(many=True)
    next = serializers.CharField(allow_null=True)


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
