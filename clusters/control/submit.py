"""Hands placed attempts to their engine, exactly once each, and passes on requests to stop."""

from __future__ import annotations

import logging
from datetime import timedelta

from clusters.backends.base import Backend, BackendUnavailable, LaunchRefused, LaunchSpec, Limits
from clusters.backends.registry import backend
from clusters.choices import AttemptState, Reason
from clusters.control.apply import apply_observation, end_unplaceable
from clusters.models import Attempt, GpuAllotment
from portal.lib import clock, leases

logger = logging.getLogger(__name__)
LEASE_SECONDS = 30
RETRY_SECONDS = 3


def submit_placed(pool_id: int, *, owner: str) -> int:
    """Submit placed attempts of the pool one lease at a time; returns how many were handled."""
    handled = 0
    waiting = Attempt.objects.filter(state=AttemptState.PLACED, workload__pool=pool_id)
    while True:
        token, claimed = leases.claim(
            waiting.order_by("pk"), owner=owner, seconds=LEASE_SECONDS, limit=1
        )
        if not claimed:
            return handled
        attempt = (
            Attempt.objects.select_related("workload__pool", "workload__team")
            .filter(pk=claimed[0].pk, lease_token=token)
            .first()
        )
        if attempt is not None:
            _submit(attempt)
            handled += 1


def _submit(attempt: Attempt) -> None:
    engine = backend(attempt.workload.pool.backend)
    try:
        if attempt.workload.stop_requested_at is not None:
            _stop_before_start(attempt, engine)
            return
        seen = engine.submit(spec_of(attempt))
    except LaunchRefused as error:
        end_unplaceable(attempt, Reason.START_FAILED, str(error))
    except BackendUnavailable as error:
        # Unknown is not failed: try again under the same name, which adopts what is there.
        logger.warning("%s could not be submitted: %s", attempt.external_name, error)
        Attempt.objects.filter(pk=attempt.pk).update(
            lease_expires_at=clock.now() + timedelta(seconds=RETRY_SECONDS)
        )
    else:
        apply_observation(attempt, seen)


def _stop_before_start(attempt: Attempt, engine: Backend) -> None:
    """A stop came between placing and submitting; a crash may have left it running all the same.

    The engine is told first: what it has not begun yet, it must not begin later.
    """
    engine.stop(attempt.external_name, grace_seconds=attempt.workload.pool.grace_seconds)
    seen = engine.observe([attempt.external_name]).get(attempt.external_name)
    if seen is None:
        end_unplaceable(attempt, Reason.STOPPED, "")
    else:
        apply_observation(attempt, seen)


def spec_of(attempt: Attempt) -> LaunchSpec:
    """What the engine is told of `attempt`."""
    job = attempt.workload
    pool = job.pool
    uuids = GpuAllotment.objects.filter(attempt=attempt, released_at__isnull=True).order_by(
        "gpu__index"
    )
    return LaunchSpec(
        external_name=attempt.external_name,
        run_id=job.public_id,
        attempt_number=attempt.number,
        team_number=job.team_id,
        gpu_uuids=tuple(uuids.values_list("gpu__uuid", flat=True)),
        environment=job.environment,
        command=job.command,
        time_limit_seconds=job.time_limit_seconds,
        grace_seconds=pool.grace_seconds,
        network=pool.has_network,
        limits=Limits(
            memory_bytes=pool.memory_bytes_per_gpu * job.gpus,
            pids=pool.pids,
            cpu_cores=pool.cpu_cores_per_gpu * job.gpus,
            disk_bytes=pool.disk_bytes,
            log_bytes=pool.log_bytes,
        ),
        env=job.env,
    )


def pass_on_stops(pool_id: int) -> None:
    """Tell the engine of every stop asked for; telling it twice changes nothing."""
    stopping = Attempt.objects.filter(
        state=AttemptState.RUNNING,
        workload__pool=pool_id,
        workload__stop_requested_at__isnull=False,
    ).select_related("workload__pool")
    for attempt in stopping:
        pool = attempt.workload.pool
        try:
            backend(pool.backend).stop(attempt.external_name, grace_seconds=pool.grace_seconds)
        except BackendUnavailable as error:
            logger.warning("%s could not be stopped yet: %s", attempt.external_name, error)
