"""Pools as they are shown."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Greatest

from clusters.choices import AttemptState, WorkloadStatus
from clusters.models import Attempt, Gpu, GpuAllotment, Node, Pool, Workload
from portal.lib import clock


def with_counts(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Add `gpu_count` and `free_count`: GPUs present, and those nobody has now.

    On machines that take work; an engine that places by itself says how many are in use.
    """
    present = Q(nodes__gpus__is_present=True)
    working = present & Q(nodes__problem="", nodes__drain_reason="")
    taken = working & Q(
        nodes__gpus_in_use__isnull=True,
        nodes__gpus__allotments__isnull=False,
        nodes__gpus__allotments__released_at__isnull=True,
    )
    nodes = Node.objects.filter(pool=OuterRef("pk"), problem="", drain_reason="").order_by()
    used = nodes.values("pool").annotate(total=Sum("gpus_in_use")).values("total")
    return pools.annotate(
        gpu_count=Count("nodes__gpus", filter=present, distinct=True),
        working_count=Count("nodes__gpus", filter=working, distinct=True),
        taken_count=Count("nodes__gpus", filter=taken, distinct=True),
        used_count=Coalesce(Subquery(used), 0),
    ).annotate(free_count=Greatest(F("working_count") - F("taken_count") - F("used_count"), 0))


@dataclass(frozen=True, slots=True)
class Room:
    """What a pool has: GPUs present, free now, and jobs that wait for them."""

    total: int
    free: int
    waiting: int


def room_of(pool: Pool) -> Room:
    """The room of `pool` now."""
    counted: Any = with_counts(Pool.objects.filter(pk=pool.pk)).get()
    waiting = Workload.objects.filter(pool=pool, status=WorkloadStatus.QUEUED).count()
    return Room(total=counted.gpu_count, free=counted.free_count, waiting=waiting)


def longest_wait(pool: Pool, *, gpus: int, before: Workload | None = None) -> timedelta | None:
    """How long a job of `gpus` waits at most if everybody runs to the time limit.

    `before` is a queued job whose own wait is asked for; else the job would join the end of the
    queue. Zero where it starts at once; None where the pool can never start it.
    """
    now = clock.now()
    free = _free_by_node(pool)
    releases = _releases(pool, now)
    heapq.heapify(releases)
    at = now
    for count, limit in [*_ahead(pool, before), (gpus, timedelta(0))]:
        started = _start(free, releases, count, at)
        if started is None:
            return None
        at, node = started
        heapq.heappush(releases, (at + limit, node, count))
    return at - now


def _start(
    free: dict[int, int], releases: list[tuple[datetime, int, int]], count: int, at: datetime
) -> tuple[datetime, int] | None:
    """Place `count` GPUs no sooner than `at`, in the fullest node that fits; when and where."""
    while True:
        while releases and releases[0][0] <= at:
            _, node, released = heapq.heappop(releases)
            free[node] = free.get(node, 0) + released
        fitting = [node for node, left in free.items() if left >= count]
        if fitting:
            node = min(fitting, key=lambda key: free[key])
            free[node] -= count
            return at, node
        if not releases:
            return None
        at = releases[0][0]


def _free_by_node(pool: Pool) -> dict[int, int]:
    free = (
        Gpu.objects.filter(
            node__pool=pool, is_present=True, node__problem="", node__drain_reason=""
        )
        .exclude(allotments__released_at__isnull=True, allotments__isnull=False)
        .values_list("node_id")
        .annotate(count=Count("pk"))
    )
    return dict(free)


def _releases(pool: Pool, now: datetime) -> list[tuple[datetime, int, int]]:
    """When each attempt gives its GPUs back at the latest: (time, node, GPUs)."""
    held = (
        GpuAllotment.objects.filter(
            released_at__isnull=True, gpu__node__pool=pool, gpu__is_present=True
        )
        .values("attempt_id", "gpu__node_id")
        .annotate(count=Count("pk"))
    )
    attempts = Attempt.objects.select_related("workload").in_bulk(
        [row["attempt_id"] for row in held]
    )
    return [
        (
            max(now, _latest_end(attempts[row["attempt_id"]], pool, now)),
            row["gpu__node_id"],
            row["count"],
        )
        for row in held
    ]


def _latest_end(attempt: Attempt, pool: Pool, now: datetime) -> datetime:
    job = attempt.workload
    grace = timedelta(seconds=pool.grace_seconds)
    if job.stop_requested_at is not None:
        return job.stop_requested_at + grace
    return (attempt.started_at or now) + timedelta(seconds=job.time_limit_seconds) + grace


def _ahead(pool: Pool, before: Workload | None) -> Sequence[tuple[int, timedelta]]:
    """GPUs and time limit of each job that is served first."""
    waiting = Attempt.objects.filter(state=AttemptState.INTENDED, workload__pool=pool)
    if before is not None:
        waiting = waiting.filter(workload_id__lt=before.pk)
    rows = waiting.order_by("workload_id").values_list(
        "workload__gpus", "workload__time_limit_seconds"
    )
    return [(gpus, timedelta(seconds=seconds)) for gpus, seconds in rows]
