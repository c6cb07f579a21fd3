"""What every workload shows in the API, whatever its kind."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.actions.budgets import MAX_BUDGET_MICROS
from clusters.actions.request_checks import MAX_NAME, MAX_PROJECT
from clusters.api.serializers import INT32, StrictInteger, StrictString
from clusters.choices import ENDINGS, AttemptState, Reason, WorkloadStatus
from clusters.models import Attempt, Workload, WorkloadEvent
from clusters.queries.attempts import AttemptFacts, Unseen


class LaunchSerializer(serializers.Serializer[Any]):
    """What every launch may say."""

    name = StrictString(help_text=f"At most {MAX_NAME} characters.")
    pool = StrictString(help_text="Slug of a pool, from GET /pools.")
    gpus = StrictInteger(
        default=1, min_value=1, max_value=INT32, help_text="In all, shared equally by the nodes."
    )
    environment = StrictString(default="", help_text="Empty: the pool's first that will do.")
    volume = StrictString(
        default="", help_text="Id of a volume to mount at /workspace; empty: none."
    )
    project = StrictString(
        default="",
        help_text=f"A label of the team's own to split cost by; at most {MAX_PROJECT} characters.",
    )
    max_cost_micros = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MAX_BUDGET_MICROS,
        help_text="It is stopped when it has come to this, in micro-units; 0: no limit.",
    )


class WorkloadSerializer(serializers.Serializer[Workload]):
    """A workload. Money in micro-units of the currency, times in UTC."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    project = serializers.CharField()
    status = serializers.ChoiceField(choices=WorkloadStatus.choices)
    reason = serializers.ChoiceField(choices=Reason.choices)
    reason_text = serializers.SerializerMethodField()
    detail = serializers.CharField()
    pool = serializers.CharField(source="pool.slug")
    gpus = serializers.IntegerField()
    environment = serializers.CharField()
    volume = serializers.CharField(source="volume.public_id", allow_null=True, default=None)
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

    def get_reason_text(self, workload: Workload) -> str:
        """The reason and what to do, in words."""
        reason = Reason(workload.reason)
        advice = ENDINGS[reason].advice if reason in ENDINGS else ""
        return f"{reason.label}. {advice}".strip()

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_exit_code(self, workload: Workload) -> int | None:
        """Exit code of the latest attempt."""
        latest = self._latest(workload)
        return latest.exit_code if latest else None

    def get_attempt(self, workload: Workload) -> int:
        """Number of the latest attempt; 1 is the first."""
        latest = self._latest(workload)
        return latest.number if latest else 0

    def get_is_unknown(self, workload: Workload) -> bool:
        """Whether its engine tells nothing of it at present: neither ended nor failed by that."""
        return self._unseen(workload) is not None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_unknown_since(self, workload: Workload) -> str | None:
        """Since when; null while it is known."""
        unseen = self._unseen(workload)
        return serializers.DateTimeField().to_representation(unseen.since) if unseen else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_queue_position(self, workload: Workload) -> int | None:
        """1 is next; null when it does not wait, or a cluster's own queue orders it."""
        positions: dict[int, int] = self.context["positions"]
        return positions.get(workload.pk)

    def get_billed_seconds(self, workload: Workload) -> float:
        """Seconds charged so far, to the microsecond."""
        seconds: dict[int, float] = self.context["seconds"]
        return seconds.get(workload.pk, 0.0)

    def get_cost_micros(self, workload: Workload) -> int:
        """Cost so far: floor(price x gpus x seconds / 3600)."""
        costs: dict[int, int] = self.context["costs"]
        return costs.get(workload.pk, 0)

    def _latest(self, workload: Workload) -> Attempt | None:
        latest: dict[int, Attempt] = self.context["latest"]
        return latest.get(workload.pk)

    def _unseen(self, workload: Workload) -> Unseen | None:
        unseen: dict[int, Unseen] = self.context["unseen"]
        return unseen.get(workload.pk)


class AttemptSerializer(serializers.Serializer[AttemptFacts]):
    """One placement of a workload. `reason` is empty until it has ended."""

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


class WithAttemptsSerializer(serializers.Serializer[Workload]):
    """Every attempt, oldest first."""

    attempts = serializers.SerializerMethodField()

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, workload: Workload) -> list[dict[str, Any]]:
        """Each placement and what it cost."""
        facts: Any = self.context["attempts"][workload.pk]  # the stubs know a single instance only
        return list(AttemptSerializer(facts, many=True).data)


class EventSerializer(serializers.Serializer[WorkloadEvent]):
    """A step of the timeline; ask for what follows it by its `id`."""

    id = serializers.IntegerField(source="pk")
    at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=WorkloadStatus.choices)
    reason = serializers.ChoiceField(choices=Reason.choices)
    reason_text = serializers.SerializerMethodField()
    attempt = serializers.IntegerField(source="attempt_number")
    message = serializers.CharField()
    actor = serializers.CharField()

    def get_reason_text(self, event: WorkloadEvent) -> str:
        """The reason in words."""
        return f"{Reason(event.reason).label}."


class EventListSerializer(serializers.Serializer[Any]):
    """Steps, oldest first; ask again with `?after=next`, which is where it is already known to."""

    events = EventSerializer(many=True)
    next = serializers.IntegerField()
