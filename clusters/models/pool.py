"""What work runs on."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from portal.lib import clock, ids
from portal.lib.leases import Leasable


def _public_id() -> str:
    return ids.new_id("pool")


class Pool(models.Model):
    """One kind of GPU at one price on one backend. Limits are per GPU of an attempt.

    `backend` is a name in `settings.BACKENDS`, `options` what that engine needs to know besides.
    While `breaker_opened_at` is set nothing is started: too many machines failed at once.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    backend = models.CharField(max_length=40)
    options = models.JSONField(default=dict, blank=True)
    sku_code = models.SlugField(max_length=60)
    gpu_model = models.CharField(max_length=80)
    is_virtual = models.BooleanField(default=False)
    is_open = models.BooleanField(default=True)
    has_network = models.BooleanField(default=False)
    max_gpus_per_workload = models.PositiveIntegerField(default=8)
    max_nodes_per_workload = models.PositiveIntegerField(default=1)
    max_time_limit_seconds = models.PositiveIntegerField(default=7 * 24 * 3600)
    memory_bytes_per_gpu = models.BigIntegerField(default=4 * 1024**3)
    cpu_cores_per_gpu = models.FloatField(default=2.0)
    pids = models.PositiveIntegerField(default=512)
    disk_bytes = models.BigIntegerField(default=10 * 1024**3)
    log_bytes = models.BigIntegerField(default=64 * 1024**2)
    grace_seconds = models.PositiveIntegerField(default=10)
    environments = ArrayField(models.SlugField(max_length=40), default=list)
    # Of all environments those the engine has; None where it does not tell.
    present_environments = ArrayField(models.CharField(max_length=80), null=True)
    # What health() said last: shown to people, checked before placing.
    may_start = models.BooleanField(default=True)
    isolation = models.CharField(max_length=80, blank=True, default="")
    health_detail = models.CharField(max_length=300, blank=True, default="")
    observed_at = models.DateTimeField(null=True)
    breaker_opened_at = models.DateTimeField(null=True)
    breaker_closed_at = models.DateTimeField(null=True)
    breaker_detail = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def offered_environments(self) -> list[str]:
        """Those of its environments that are there: what a launch may choose from."""
        present = self.present_environments
        if present is None:
            return self.environments
        return [name for name in self.environments if name in present]


class Engine(Leasable):
    """What the control loop knows of one backend: when it answered, and who looks at it now.

    `surveyed_at` is when the last whole survey was taken: every attempt that is not missing was
    seen then. `failing_since` is set while it does not answer.
    """

    name = models.CharField(max_length=40, unique=True)
    surveyed_at = models.DateTimeField(null=True)
    survey_ms = models.FloatField(default=0)
    failing_since = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True, default="")
    strays = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.name


class Node(models.Model):
    """A machine of a pool.

    `problem` is the engine's word on why it takes no new work; `drain_reason` is ours, asserted
    again on the engine as long as it stands. `gpus_in_use` is the engine's count, None where the
    portal allots GPUs by itself.
    """

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=100)
    last_seen_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True, default="")
    gpus_in_use = models.PositiveIntegerField(null=True)
    drain_reason = models.CharField(max_length=200, blank=True, default="")
    drained_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pool", "name"], name="node_unique")]

    def __str__(self) -> str:
        return self.name


class Gpu(models.Model):
    """A GPU, known by its UUID. `is_present` turns False when the engine no longer reports it."""

    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="gpus")
    uuid = models.CharField(max_length=80, unique=True)
    index = models.PositiveSmallIntegerField()
    model = models.CharField(max_length=80)
    memory_bytes = models.BigIntegerField()
    is_virtual = models.BooleanField(default=False)
    is_present = models.BooleanField(default=True)

    class Meta:
        verbose_name = "GPU"
        verbose_name_plural = "GPUs"

    def __str__(self) -> str:
        return self.uuid


class GpuAllotment(models.Model):
    """A GPU given to an attempt; the database lets one attempt at a time have it."""

    gpu = models.ForeignKey(Gpu, on_delete=models.PROTECT, related_name="allotments")
    attempt = models.ForeignKey(
        "clusters.Attempt", on_delete=models.PROTECT, related_name="allotments"
    )
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["gpu"],
                condition=models.Q(released_at__isnull=True),
                name="gpu_one_attempt",
            ),
            models.UniqueConstraint(fields=["gpu", "attempt"], name="gpu_attempt_once"),
        ]
