"""What a notebook has beside what every workload has."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from clusters.choices import Reason, Verdict
from portal.lib import clock, ids


def _share_id() -> str:
    return ids.new_id("share")


class Notebook(models.Model):
    """How a notebook is kept from running for nothing, and whether it is still listed.

    `idle_minutes` 0: idleness never stops it. `stop_at` is a time its owner has set. Until
    `keep_until` idleness does not count. While a countdown runs, `stops_at` is its end and
    `stops_for` the reason; `warned_at` is when it was mailed.
    """

    workload = models.OneToOneField(
        "clusters.Workload", on_delete=models.CASCADE, primary_key=True, related_name="notebook"
    )
    idle_minutes = models.PositiveIntegerField()
    stop_at = models.DateTimeField(null=True)
    keep_until = models.DateTimeField(null=True)
    idle_since = models.DateTimeField(null=True)
    stops_at = models.DateTimeField(null=True)
    stops_for = models.CharField(max_length=24, choices=Reason, blank=True, default="")
    warned_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.workload.public_id


class NotebookShare(models.Model):
    """A link by which members of the team may open somebody's notebook, until it is revoked."""

    public_id = models.CharField(max_length=40, unique=True, default=_share_id, editable=False)
    notebook = models.ForeignKey(Notebook, on_delete=models.CASCADE, related_name="shares")
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    revoked_at = models.DateTimeField(null=True)


class NotebookGuest(models.Model):
    """A member who has followed a link; what the link gave goes when it is revoked."""

    share = models.ForeignKey(NotebookShare, on_delete=models.CASCADE, related_name="guests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["share", "user"], name="guest_once")]


class IdleCheck(models.Model):
    """One look at what a notebook does, and what it was judged by. None is unknown.

    `kernels_busy` of `kernels` were executing; `connections` browsers were connected; GPU and CPU
    are means in percent since the look before; `cpu_seconds` is what the next look compares with.
    """

    workload = models.ForeignKey(
        "clusters.Workload", on_delete=models.CASCADE, related_name="idle_checks"
    )
    attempt_number = models.PositiveIntegerField()
    at = models.DateTimeField(default=clock.now)
    verdict = models.CharField(max_length=8, choices=Verdict)
    kernels = models.PositiveIntegerField(null=True)
    kernels_busy = models.PositiveIntegerField(null=True)
    connections = models.PositiveIntegerField(null=True)
    gpu_percent = models.FloatField(null=True)
    cpu_percent = models.FloatField(null=True)
    cpu_seconds = models.FloatField(null=True)
    words = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["workload", "-at"], name="idle_check_recent")]


class IdleStop(models.Model):
    """Why a notebook was stopped as idle: the looks it was decided by, kept for ever."""

    workload = models.ForeignKey(
        "clusters.Workload", on_delete=models.CASCADE, related_name="idle_stops"
    )
    attempt_number = models.PositiveIntegerField()
    at = models.DateTimeField(default=clock.now)
    idle_since = models.DateTimeField()
    idle_minutes = models.PositiveIntegerField()
    evidence = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workload", "attempt_number"], name="idle_stop_once_an_attempt"
            ),
            models.CheckConstraint(
                condition=Q(idle_since__lte=F("at")), name="idle_stop_after_idleness"
            ),
        ]
