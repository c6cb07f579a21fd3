"""Files that outlive what works on them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.lib import clock, ids

MAX_GIB = 10_000


def _public_id() -> str:
    return ids.new_id("vol")


class Volume(models.Model):
    """A team's files, mounted at `/workspace`; `size_gib` is both its quota and what is billed.

    `backend` names the engine in whose storage it lies: it can be mounted in that engine's pools.
    `used_bytes` was true at `measured_at`. A removed one keeps its row, for the bill names it.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="volumes")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    backend = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    size_gib = models.PositiveIntegerField()
    used_bytes = models.BigIntegerField(default=0)
    measured_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    removed_at = models.DateTimeField(null=True)
    # When its files were gone from the disk; removing is an intent until then.
    erased_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(size_gib__gte=1, size_gib__lte=MAX_GIB), name="volume_size"
            ),
            models.UniqueConstraint(
                fields=["team", "name"], condition=Q(removed_at__isnull=True), name="volume_name"
            ),
        ]
        indexes = [
            models.Index(
                fields=["removed_at"],
                condition=Q(removed_at__isnull=False, erased_at__isnull=True),
                name="volume_to_erase",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def size_bytes(self) -> int:
        """The quota."""
        return self.size_gib * 1024**3
