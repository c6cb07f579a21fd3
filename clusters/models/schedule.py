"""Notebooks that run as jobs again and again."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from clusters.choices import RunOutcome
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("sched")


class Schedule(models.Model):
    """When a notebook of a volume is run, in what, and as whom.

    `cron` is read in `timezone`. Every run is launched as `runs_as` with the rights they have then;
    who changes or resumes a schedule is whom it runs as from then on. `next_at` is set while it is
    on: whoever moves it on, in the transaction of the launch, has the run. `paused_reason` says why
    FastGPU has paused it by itself.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="schedules")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    runs_as = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    name = models.CharField(max_length=100)
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=60, default="UTC")
    volume = models.ForeignKey(
        "clusters.Volume", on_delete=models.PROTECT, related_name="schedules"
    )
    notebook = models.CharField(max_length=500)
    output_folder = models.CharField(max_length=500, blank=True, default="")
    parameters = models.JSONField(default=dict)
    pool = models.ForeignKey("clusters.Pool", on_delete=models.PROTECT, related_name="+")
    gpus = models.PositiveIntegerField(default=1)
    environment = models.SlugField(max_length=40)
    time_limit_seconds = models.PositiveIntegerField()
    project = models.CharField(max_length=60, blank=True, default="")
    max_cost_micros = models.BigIntegerField(default=0)
    skips_while_running = models.BooleanField(default=True)
    catches_up = models.BooleanField(default=True)
    is_on = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True)
    failures_in_row = models.PositiveIntegerField(default=0)
    paused_reason = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_on=True, next_at__isnull=False, removed_at__isnull=True)
                | Q(is_on=False, next_at__isnull=True),
                name="schedule_on_has_next",
            ),
        ]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(is_on=True), name="schedule_due"),
            models.Index(fields=["team", "-id"], name="schedule_team"),
        ]

    def __str__(self) -> str:
        return self.public_id


class ScheduleRun(models.Model):
    """What came of one time: `due_at` is the time it was for, `at` when it was dealt with.

    `settled_at` is when the end of its job was counted, `told_at` when what went wrong was mailed.
    """

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs")
    due_at = models.DateTimeField()
    at = models.DateTimeField(default=clock.now)
    is_manual = models.BooleanField(default=False)
    outcome = models.CharField(max_length=10, choices=RunOutcome)
    workload = models.ForeignKey(
        "clusters.Workload", on_delete=models.PROTECT, null=True, related_name="schedule_runs"
    )
    output = models.CharField(max_length=1100, blank=True, default="")
    detail = models.CharField(max_length=500, blank=True, default="")
    settled_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "due_at"],
                condition=Q(is_manual=False),
                name="schedule_run_once",
            ),
            models.CheckConstraint(
                condition=Q(outcome=RunOutcome.LAUNCHED, workload__isnull=False)
                | (~Q(outcome=RunOutcome.LAUNCHED) & Q(workload__isnull=True)),
                name="schedule_run_job",
            ),
        ]
        indexes = [
            models.Index(fields=["schedule", "-id"], name="schedule_run_recent"),
            models.Index(
                fields=["workload"],
                condition=Q(outcome=RunOutcome.LAUNCHED, settled_at__isnull=True),
                name="schedule_run_open",
            ),
        ]
