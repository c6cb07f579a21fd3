"""Leases on rows: claim with SKIP LOCKED and a token, work outside any transaction, apply guarded.

The row is the truth. Who lost the lease finds that its guarded update touches no row, and walks
away. Model: the claim is one conditional update, as a queue in PostgreSQL is usually built.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TypeVar

from django.db import models, transaction
from django.db.models import Q, QuerySet

from portal.lib import clock


class Leasable(models.Model):
    """Columns a row needs so that one worker at a time may drive it."""

    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    lease_owner = models.CharField(max_length=100, blank=True, default="", editable=False)

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=Leasable)


def claim(
    rows: QuerySet[Row], *, owner: str, seconds: int = 30, limit: int = 50
) -> tuple[uuid.UUID, list[Row]]:
    """Lease up to `limit` free rows of `rows` for `seconds`; returns the token and the rows."""
    token = uuid.uuid4()
    now = clock.now()
    free = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=now)
    with transaction.atomic():
        keys = list(
            rows.filter(free)
            .select_for_update(skip_locked=True, no_key=True, of=("self",))
            .values_list("pk", flat=True)[:limit]
        )
        if not keys:
            return token, []
        rows.model._default_manager.filter(pk__in=keys).update(
            lease_token=token, lease_expires_at=now + timedelta(seconds=seconds), lease_owner=owner
        )
        return token, list(rows.filter(pk__in=keys))
