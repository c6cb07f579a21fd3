"""Jobs as they are shown."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from clusters.choices import WorkloadStatus
from clusters.models import Workload


def queue_positions(jobs: Iterable[Workload]) -> dict[int, int]:
    """Place in its pool's queue of each job that waits, 1 being next; one query, none if none."""
    pools = {job.pool_id for job in jobs if job.status == WorkloadStatus.QUEUED}
    if not pools:
        return {}
    waiting = Workload.objects.filter(status=WorkloadStatus.QUEUED, pool__in=pools).annotate(
        place=Window(RowNumber(), partition_by=F("pool_id"), order_by=F("pk").asc())
    )
    return dict(waiting.values_list("pk", "place"))
