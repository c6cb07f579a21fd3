"""Picks the waiting attempts that may be handed to their engine now, first come first served."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from clusters.actions.set_status import move_attempt, move_workload
from clusters.backends.registry import backend
from clusters.choices import AttemptState, Reason, WorkloadStatus
from clusters.models import Attempt, Gpu, GpuAllotment, Pool, Workload
from portal.lib import clock

BATCH = 100
HAND_OVER_BATCH = 500


def place(pool_id: int) -> int:
    """Place as many waiting attempts of the pool as it takes; returns how many.

    An engine that queues gets all of them at once. For the others the portal allots free GPUs.
    """
    pool = Pool.objects.get(pk=pool_id)
    if not takes_work(pool):
        return 0
    if backend(pool.backend).queues:
        return _hand_over(pool)
    return _allot(pool_id)


def takes_work(pool: Pool) -> bool:
    """Whether the pool starts anything at present."""
    return pool.is_open and pool.may_start and pool.breaker_opened_at is None


def waiting(pool_id: int) -> QuerySet[Attempt]:
    """Attempts whose time has come, in the order in which they were launched."""
    due = Q(not_before__isnull=True) | Q(not_before__lte=clock.now())
    return Attempt.objects.filter(due, state=AttemptState.INTENDED, pool=pool_id).order_by(
        "workload_id"
    )


@transaction.atomic
def _hand_over(pool: Pool) -> int:
    keys = (
        waiting(pool.pk)
        .select_for_update(skip_locked=True, no_key=True, of=("self",))
        .values_list("pk", flat=True)[:HAND_OVER_BATCH]
    )
    return Attempt.objects.filter(pk__in=list(keys), state=AttemptState.INTENDED).update(
        state=AttemptState.PLACED, placed_at=clock.now()
    )


@transaction.atomic
def _allot(pool_id: int) -> int:
    """Allot GPUs to as many waiting attempts of the pool as fit; returns how many were placed.

    The pool's row is locked, so two placers take turns. Strictly in order: a large job at the
    head is not overtaken, or it might wait for ever.
    """
    pool = Pool.objects.select_for_update(no_key=True).get(pk=pool_id)
    if not takes_work(pool):
        return 0
    free = list(
        Gpu.objects.filter(
            node__pool=pool, is_present=True, node__problem="", node__drain_reason=""
        )
        .exclude(allotments__released_at__isnull=True, allotments__isnull=False)
        .select_related("node")
        .order_by("node_id", "index")
    )
    placed = 0
    for attempt in waiting(pool_id).select_related("workload")[:BATCH]:
        chosen = _choose(free, attempt.workload.gpus)
        if chosen is None:
            break
        if _give(attempt, chosen):
            free = [gpu for gpu in free if gpu not in chosen]
            placed += 1
    return placed


def _choose(free: list[Gpu], count: int) -> list[Gpu] | None:
    by_node: dict[int, list[Gpu]] = {}
    for gpu in free:
        by_node.setdefault(gpu.node_id, []).append(gpu)
    fitting = [gpus for gpus in by_node.values() if len(gpus) >= count]
    # The fullest node that still fits keeps large gaps whole for large jobs.
    return min(fitting, key=len)[:count] if fitting else None


def _give(attempt: Attempt, gpus: list[Gpu]) -> bool:
    job = Workload.objects.select_for_update(no_key=True, of=("self",)).get(pk=attempt.workload_id)
    now = clock.now()
    if job.status != WorkloadStatus.QUEUED or not move_attempt(
        attempt, AttemptState.PLACED, placed_at=now, node=gpus[0].node.name
    ):
        return False
    GpuAllotment.objects.bulk_create(GpuAllotment(gpu=gpu, attempt=attempt) for gpu in gpus)
    move_workload(job, WorkloadStatus.STARTING, Reason.STARTING, attempt_number=attempt.number)
    return True
