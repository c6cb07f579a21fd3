"""Shapes of schedules: what comes in, what goes out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.actions.budgets import MAX_BUDGET_MICROS
from clusters.actions.notebook_runs import NotebookRun
from clusters.actions.request_checks import MAX_NAME, MAX_PROJECT
from clusters.actions.schedules import ScheduleRequest
from clusters.api.serializers import INT32, StrictInteger, StrictString
from clusters.choices import RunOutcome, WorkloadStatus
from clusters.models import ScheduleRun
from clusters.queries.schedules import ScheduleRow, next_times


class NotebookRunSerializer(serializers.Serializer[Any]):
    """The body of POST /notebook-runs: a notebook of a volume, and what it runs in."""

    name = StrictString(help_text=f"At most {MAX_NAME} characters.")
    volume = StrictString(help_text="Id of the volume that the notebook lies in.")
    notebook = StrictString(help_text="Its path in the volume, such as reports/daily.ipynb.")
    output_folder = StrictString(
        default="", help_text="Where in the volume its output is kept; empty: beside it."
    )
    parameters = serializers.DictField(
        default=dict, help_text="Set in a cell after the one tagged `parameters`, else first."
    )
    pool = StrictString(help_text="Slug of a pool, from GET /pools.")
    gpus = StrictInteger(default=1, min_value=1, max_value=INT32)
    environment = StrictString(default="", help_text="Empty: the pool's first for notebooks.")
    time_limit_seconds = StrictInteger(default=3600, min_value=1, max_value=INT32)
    project = StrictString(default="", help_text=f"At most {MAX_PROJECT} characters.")
    max_cost_micros = serializers.IntegerField(
        default=0, min_value=0, max_value=MAX_BUDGET_MICROS, help_text="Of each run; 0: no limit."
    )


class ScheduleRequestSerializer(NotebookRunSerializer):
    """The body of POST /schedules."""

    cron = StrictString(help_text="Five fields: minute, hour, day of month, month, day of week.")
    timezone = StrictString(default="UTC", help_text="In which `cron` is read: Europe/Berlin.")
    skips_while_running = serializers.BooleanField(
        default=True, help_text="A time that comes while the run before still goes is skipped."
    )
    catches_up = serializers.BooleanField(
        default=True, help_text="After FastGPU was away, one run for all times that passed."
    )


WHEN = ("cron", "timezone", "skips_while_running", "catches_up")


def request_from(data: dict[str, Any]) -> ScheduleRequest:
    """What a valid body of `ScheduleRequestSerializer` asks for."""
    run = {name: value for name, value in data.items() if name not in WHEN}
    return ScheduleRequest(run=NotebookRun(**run), **{name: data[name] for name in WHEN})


class ScheduleRunSerializer(serializers.Serializer[ScheduleRun]):
    """What came of one time. `job` is null where nothing was launched; `detail` says why."""

    due_at = serializers.DateTimeField()
    at = serializers.DateTimeField()
    is_manual = serializers.BooleanField()
    outcome = serializers.ChoiceField(choices=RunOutcome.choices)
    job = serializers.CharField(source="workload.public_id", default=None, allow_null=True)
    job_status = serializers.ChoiceField(
        source="workload.status", choices=WorkloadStatus.choices, default=None, allow_null=True
    )
    output = serializers.CharField(help_text="Path of the output in the volume.")
    detail = serializers.CharField()


class ScheduleSerializer(serializers.Serializer[ScheduleRow]):
    """A schedule. `next_at` is null while it is paused; `paused_reason`: why FastGPU did it."""

    id = serializers.CharField(source="schedule.public_id")
    name = serializers.CharField(source="schedule.name")
    is_on = serializers.BooleanField(source="schedule.is_on")
    next_at = serializers.DateTimeField(source="schedule.next_at", allow_null=True)
    paused_reason = serializers.CharField(source="schedule.paused_reason")
    failures_in_row = serializers.IntegerField(source="schedule.failures_in_row")
    cron = serializers.CharField(source="schedule.cron")
    timezone = serializers.CharField(source="schedule.timezone")
    times_text = serializers.CharField(source="words")
    skips_while_running = serializers.BooleanField(source="schedule.skips_while_running")
    catches_up = serializers.BooleanField(source="schedule.catches_up")
    volume = serializers.CharField(source="schedule.volume.public_id")
    notebook = serializers.CharField(source="schedule.notebook")
    output_folder = serializers.CharField(source="schedule.output_folder")
    parameters = serializers.DictField(source="schedule.parameters")
    pool = serializers.CharField(source="schedule.pool.slug")
    gpus = serializers.IntegerField(source="schedule.gpus")
    environment = serializers.CharField(source="schedule.environment")
    time_limit_seconds = serializers.IntegerField(source="schedule.time_limit_seconds")
    project = serializers.CharField(source="schedule.project")
    max_cost_micros = serializers.IntegerField(source="schedule.max_cost_micros")
    runs_as = serializers.EmailField(source="schedule.runs_as.email")
    created_by = serializers.EmailField(source="schedule.created_by.email")
    created_at = serializers.DateTimeField(source="schedule.created_at")
    upcoming = serializers.SerializerMethodField()
    last_run = ScheduleRunSerializer(source="last", allow_null=True)

    @extend_schema_field(serializers.ListField(child=serializers.DateTimeField()))
    def get_upcoming(self, row: ScheduleRow) -> list[str]:
        """The next times; none while it is paused."""
        schedule = row.schedule
        times = next_times(schedule.cron, schedule.timezone) if schedule.is_on else []
        return [serializers.DateTimeField().to_representation(due.at) for due in times]


class ScheduleListSerializer(serializers.Serializer[Any]):
    """All schedules of the team, newest first; a team has at most 100."""

    schedules = ScheduleSerializer(many=True)


class ScheduleRunListSerializer(serializers.Serializer[Any]):
    """The latest runs of a schedule, newest first."""

    runs = ScheduleRunSerializer(many=True)
