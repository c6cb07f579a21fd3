"""Work and its placements."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing.labels import CostLabels
from clusters.choices import AttemptState, Reason, WorkloadKind, WorkloadStatus
from portal.lib import clock, ids
from portal.lib.leases import Leasable

NODE_CHARACTERS = 200


def _job_id() -> str:
    return ids.new_id("job")


class Workload(models.Model):
    """What a team asked to run. Only `clusters.actions.set_status` writes its status.

    `price` is that of the start of its latest attempt; until there is one, that of the launch. What
    is started again begins anew with `first_attempt`: its time limit, its retries.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_job_id, editable=False)
    kind = models.CharField(max_length=10, choices=WorkloadKind, default=WorkloadKind.JOB)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="workloads")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    pool = models.ForeignKey("clusters.Pool", on_delete=models.PROTECT, related_name="workloads")
    price = models.ForeignKey("billing.Price", on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    project = models.CharField(max_length=60, blank=True, default="")
    name = models.CharField(max_length=100)
    gpus = models.PositiveIntegerField()
    nodes = models.PositiveIntegerField(default=1)
    max_retries = models.PositiveIntegerField(default=0)
    environment = models.SlugField(max_length=40)
    volume = models.ForeignKey(
        "clusters.Volume", on_delete=models.PROTECT, null=True, related_name="workloads"
    )
    command = models.TextField()
    env = models.JSONField(default=dict)
    time_limit_seconds = models.PositiveIntegerField()
    first_attempt = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=10, choices=WorkloadStatus, default=WorkloadStatus.QUEUED)
    reason = models.CharField(max_length=24, choices=Reason, default=Reason.WAITING_FOR_GPUS)
    detail = models.CharField(max_length=500, blank=True, default="")
    stop_reason = models.CharField(max_length=24, choices=Reason, blank=True, default="")
    stop_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(gpus__gte=1), name="workload_gpus"),
            models.CheckConstraint(
                condition=Q(nodes__gte=1) & Q(nodes__lte=models.F("gpus")), name="workload_nodes"
            ),
            models.CheckConstraint(
                condition=Q(status__in=WorkloadStatus.values), name="workload_status"
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-id"], name="workload_team"),
            models.Index(
                fields=["pool", "id"], condition=Q(status="queued"), name="workload_queue"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def cost_labels(self) -> CostLabels:
        """What its cost is split by."""
        return CostLabels(self.project, self.created_by_id, self.api_key_id, self.pool.slug)


class Attempt(Leasable):
    """One placement of a workload; a retry is a new row. `external_name` is known before submit.

    `node` is where it was seen last: names with commas, cut off at `NODE_CHARACTERS`.

    `not_before` holds a retry back. `missing_since` is when its engine, asked, first did not know
    it, `last_seen_at` then when it last did: nothing later is charged. `pool` is the workload's,
    kept here for the loop's indexes.
    """

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    external_name = models.CharField(max_length=80, unique=True)
    state = models.CharField(max_length=10, choices=AttemptState, default=AttemptState.INTENDED)
    pool = models.ForeignKey("clusters.Pool", on_delete=models.PROTECT, related_name="+")
    node = models.CharField(max_length=NODE_CHARACTERS, blank=True, default="")
    engine_id = models.CharField(max_length=60, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    not_before = models.DateTimeField(null=True)
    placed_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    missing_since = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    stop_sent_at = models.DateTimeField(null=True)
    exit_code = models.IntegerField(null=True)
    reason = models.CharField(max_length=24, choices=Reason, blank=True, default="")
    detail = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workload", "number"], name="attempt_number"),
            models.UniqueConstraint(
                fields=["workload"], condition=~Q(state="ended"), name="attempt_one_live"
            ),
        ]
        indexes = [
            models.Index(
                fields=["pool", "state"], condition=~Q(state="ended"), name="attempt_live"
            ),
            models.Index(fields=["pool", "-ended_at"], name="attempt_ended"),
        ]


class WorkloadEvent(models.Model):
    """One step in the life of a workload, for its timeline. Appended, never changed."""

    workload = models.ForeignKey(Workload, on_delete=models.CASCADE, related_name="events")
    attempt_number = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(default=clock.now)
    status = models.CharField(max_length=10, choices=WorkloadStatus)
    reason = models.CharField(max_length=24, choices=Reason)
    message = models.CharField(max_length=500, blank=True, default="")
    actor = models.CharField(max_length=120, blank=True, default="")


class GpuSample(models.Model):
    """What one GPU did for one attempt in one second. A missing value is unknown, not zero."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="samples")
    gpu = models.ForeignKey("clusters.Gpu", on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    utilization_percent = models.FloatField(null=True)
    memory_used_bytes = models.BigIntegerField(null=True)
    power_watts = models.FloatField(null=True)
    temperature_celsius = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "gpu", "at"], name="sample_unique")
        ]
