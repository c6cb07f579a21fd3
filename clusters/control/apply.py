"""Turns what an engine says of an attempt into state, money and words, in one transaction."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from billing.actions.holds import release_hold
from billing.actions.metering import Resource, close_interval, open_interval
from clusters.actions.jobs import RESOURCE_KIND
from clusters.actions.locks import lock_workload
from clusters.actions.set_status import move_attempt, move_workload
from clusters.backends.base import EndReason, Observation, Phase
from clusters.choices import ENDINGS, REASON_OF_END, AttemptState, Reason, WorkloadStatus
from clusters.models import Attempt, GpuAllotment, Workload
from portal.lib import clock
from portal.lib.tasks import hint_on_commit


def apply_observation(attempt: Attempt, seen: Observation) -> None:
    """Move `attempt` to what was seen. Safe to repeat; what is known already does nothing."""
    if seen.phase == Phase.PENDING:
        return
    if attempt.state == AttemptState.RUNNING and seen.phase == Phase.RUNNING:
        return
    with transaction.atomic():
        job = _lock(attempt)
        if job is None:
            return
        if seen.started_at is not None and seen.reason != EndReason.START_FAILED:
            _begin(attempt, job, seen)
        if seen.phase == Phase.ENDED:
            reason = REASON_OF_END[seen.reason or EndReason.NODE_LOST]
            _end(attempt, job, seen, reason)


def end_unplaceable(attempt: Attempt, reason: Reason, detail: str) -> None:
    """End an attempt no engine knows or will ever take."""
    with transaction.atomic():
        job = _lock(attempt)
        if job is not None:
            _end(attempt, job, None, reason, detail)


def end_lost(attempt: Attempt) -> None:
    """End an attempt its engine forgot; it is billed to the last time it was seen."""
    with transaction.atomic():
        job = _lock(attempt)
        if job is not None:
            _end(attempt, job, None, Reason.NODE_LOST, ended_at=attempt.observed_at)


def _lock(attempt: Attempt) -> Workload | None:
    """The workload, locked after its team's account (the order everywhere); None once ended."""
    job = lock_workload(attempt.workload_id)
    attempt.refresh_from_db()
    return None if attempt.state == AttemptState.ENDED else job


def _begin(attempt: Attempt, job: Workload, seen: Observation) -> None:
    assert seen.started_at is not None  # noqa: S101  # the caller looked
    if not move_attempt(
        attempt, AttemptState.RUNNING, started_at=seen.started_at, submitted_at=clock.now()
    ):
        return
    Workload.objects.filter(pk=job.pk).update(started_at=seen.started_at)
    job.started_at = seen.started_at
    move_workload(job, WorkloadStatus.RUNNING, Reason.RUNNING, attempt_number=attempt.number)
    open_interval(
        job.team.billing_account,
        sku_code=job.pool.sku_code,
        price=job.price,
        resource=Resource(
            kind=RESOURCE_KIND,
            id=job.pk,
            attempt=attempt.number,
            public_id=job.public_id,
            label=job.name,
        ),
        quantity=job.gpus,
        started_at=seen.started_at,
    )


def _end(
    attempt: Attempt,
    job: Workload,
    seen: Observation | None,
    reason: Reason,
    detail: str = "",
    *,
    ended_at: datetime | None = None,
) -> None:
    now = clock.now()
    when = ended_at or (seen.ended_at if seen else None) or now
    detail = detail or (seen.detail if seen else "")
    if reason == Reason.STOPPED and job.stop_reason:
        reason = Reason(job.stop_reason)
    if not move_attempt(
        attempt,
        AttemptState.ENDED,
        ended_at=when,
        exit_code=seen.exit_code if seen else None,
        reason=reason,
        detail=detail[:500],
        lease_token=None,
        lease_expires_at=None,
    ):
        return
    GpuAllotment.objects.filter(attempt=attempt, released_at__isnull=True).update(released_at=now)
    close_interval(RESOURCE_KIND, job.pk, attempt.number, ended_at=when)
    release_hold(resource_kind=RESOURCE_KIND, resource_id=job.pk)
    move_workload(
        job,
        ENDINGS[reason].status,
        reason,
        detail=detail,
        attempt_number=attempt.number,
        ended_at=when,
    )
    hint_on_commit("clusters.tasks.drive_pool", job.pool_id)
