"""Hands placed attempts to their engine, exactly once each."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import F, Sum

from clusters.actions.trees import ensure_folder
from clusters.backends.base import (
    Backend,
    BackendUnavailable,
    Handle,
    LaunchRefused,
    LaunchSpec,
    Limits,
    Phase,
)
from clusters.backends.capabilities import Volumes
from clusters.backends.registry import backend
from clusters.choices import REASON_OF_END, AttemptState, Reason, WorkloadKind
from clusters.control.apply import apply_observation, end_unplaceable
from clusters.control.apps import open_lab
from clusters.control.engines import is_answering
from clusters.models import Attempt, GpuAllotment, Pool
from portal.lib import clock, leases
from portal.lib.errors import NotFound

logger = logging.getLogger(__name__)
LEASE_SECONDS = 30
RETRY_SECONDS = 3
# Claimed together to spare the database; each is submitted and applied by itself.
CLAIM = 8


def submit_placed(pool_id: int, *, owner: str) -> int:
    """Submit placed attempts of the pool; returns how many were handled.

    Does nothing while the engine is known not to answer: the sweep comes back to it.
    """
    handled = 0
    waiting = Attempt.objects.filter(state=AttemptState.PLACED, pool=pool_id).order_by("pk")
    if not waiting.exists() or not is_answering(pool_id):
        return handled
    rows = waiting.select_related("workload__pool", "workload__volume")
    while claimed := leases.claim(rows, owner=owner, seconds=LEASE_SECONDS, limit=CLAIM)[1]:
        for index, attempt in enumerate(claimed):
            if not _submit(attempt):
                _hold_back(claimed[index:])
                return handled
            handled += 1
    return handled


def _hold_back(attempts: list[Attempt]) -> None:
    """Try these again a little later; who sent them may not wait for each to time out."""
    later = clock.now() + timedelta(seconds=RETRY_SECONDS)
    for attempt in attempts:
        Attempt.objects.filter(pk=attempt.pk, lease_token=attempt.lease_token).update(
            lease_expires_at=later, lease_owner=""
        )


def _submit(attempt: Attempt) -> bool:
    """Submit or stop one; False where the engine did not answer."""
    engine = backend(attempt.workload.pool.backend)
    try:
        if attempt.workload.stop_requested_at is not None:
            _stop_before_start(attempt, engine)
            return True
        _ensure_volume(attempt, engine)
        seen = engine.submit(spec_of(attempt))
    except LaunchRefused as error:
        end_unplaceable(attempt, REASON_OF_END[error.reason], str(error))
    except BackendUnavailable as error:
        # Unknown is not failed: try again under the same name, which adopts what is there.
        logger.warning("%s could not be submitted: %s", attempt.external_name, error)
        return False
    else:
        apply_observation(attempt, seen)
        if seen.phase == Phase.RUNNING:
            open_lab(attempt)
    return True


def _ensure_volume(attempt: Attempt, engine: Backend) -> None:
    """A volume of a moment ago may have no folder yet: making a row makes none."""
    volume = attempt.workload.volume
    if volume is None or not isinstance(engine, Volumes):
        return
    try:
        ensure_folder(engine, volume)
    except NotFound as error:
        raise LaunchRefused("Its volume has been removed.") from error


def _stop_before_start(attempt: Attempt, engine: Backend) -> None:
    """A stop came between placing and submitting; a crash may have left it running all the same.

    The engine is told first: what it has not begun yet, it must not begin later.
    """
    engine.stop(attempt.external_name, grace_seconds=attempt.workload.pool.grace_seconds)
    handle = Handle(attempt.external_name, attempt.engine_id, attempt.placed_at)
    seen = engine.observe([handle]).seen.get(attempt.external_name)
    if seen is None:
        end_unplaceable(attempt, Reason.STOPPED, "")
    else:
        apply_observation(attempt, seen)


def spec_of(attempt: Attempt) -> LaunchSpec:
    """What the engine is told of `attempt`."""
    job = attempt.workload
    pool = job.pool
    per_node = job.gpus // job.nodes
    return LaunchSpec(
        external_name=attempt.external_name,
        run_id=job.public_id,
        attempt_number=attempt.number,
        team_number=job.team_id,
        gpus=job.gpus,
        gpu_uuids=_allotted(attempt, pool),
        environment=job.environment,
        command=job.command,
        time_limit_seconds=time_left(attempt),
        grace_seconds=pool.grace_seconds,
        network=pool.has_network,
        limits=Limits(
            memory_bytes=pool.memory_bytes_per_gpu * per_node,
            pids=pool.pids,
            cpu_cores=pool.cpu_cores_per_gpu * per_node,
            disk_bytes=pool.disk_bytes,
            log_bytes=pool.log_bytes,
        ),
        nodes=job.nodes,
        previous_name=_previous_name(attempt),
        env=job.env,
        options=pool.options,
        volume=job.volume.public_id if job.volume else "",
        serves=job.kind == WorkloadKind.NOTEBOOK,
    )


def _allotted(attempt: Attempt, pool: Pool) -> tuple[str, ...]:
    if backend(pool.backend).queues:
        return ()
    held = GpuAllotment.objects.filter(attempt=attempt, released_at__isnull=True)
    return tuple(held.order_by("gpu__index").values_list("gpu__uuid", flat=True))


def time_left(attempt: Attempt) -> int:
    """Seconds of the run's time limit that its earlier attempts have left, 1 at least."""
    limit = attempt.workload.time_limit_seconds
    first = attempt.workload.first_attempt
    if attempt.number == first:
        return limit
    earlier = Attempt.objects.filter(
        workload=attempt.workload_id, number__gte=first, number__lt=attempt.number
    )
    used = earlier.filter(started_at__isnull=False).aggregate(
        total=Sum(F("ended_at") - F("started_at"))
    )["total"]
    return max(1, limit - int(used.total_seconds() if used else 0))


def _previous_name(attempt: Attempt) -> str:
    if attempt.number == attempt.workload.first_attempt:
        return ""
    earlier = Attempt.objects.filter(workload=attempt.workload_id, number=attempt.number - 1)
    return earlier.values_list("external_name", flat=True).first() or ""
