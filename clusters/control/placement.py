"""Gives free GPUs to waiting attempts, first come first served within a pool."""

from __future__ import annotations

from django.db import transaction

from clusters.actions.set_status import move_attempt, move_workload
from clusters.choices import AttemptState, Reason, WorkloadStatus
from clusters.models import Attempt, Gpu, GpuAllotment, Pool, Workload
from portal.lib import clock

BATCH = 100


@transaction.atomic
def place(pool_id: int) -> int:
    """Allot GPUs to as many waiting attempts of the pool as fit; returns how many were placed.

    The pool's row is locked, so two placers take turns. Strictly in order: a large job at the
    head is not overtaken, or it might wait for ever.
    """
    pool = Pool.objects.select_for_update(no_key=True).get(pk=pool_id)
    if not (pool.is_open and pool.may_start):
        return 0
    free = list(
        Gpu.objects.filter(node__pool=pool, is_present=True)
        .exclude(allotments__released_at__isnull=True, allotments__isnull=False)
        .select_related("node")
        .order_by("node_id", "index")
    )
    waiting = (
        Attempt.objects.filter(state=AttemptState.INTENDED, workload__pool=pool)
        .select_related("workload")
        .order_by("workload_id")[:BATCH]
    )
    placed = 0
    for attempt in waiting:
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
