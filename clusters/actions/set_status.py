"""The only writers of a workload's status and an attempt's state, from their transition tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clusters.choices import (
    ATTEMPT_TRANSITIONS,
    TRANSITIONS,
    AttemptState,
    Reason,
    WorkloadKind,
    WorkloadStatus,
)
from clusters.models import Attempt, Workload, WorkloadEvent
from portal.lib import clock
from portal.lib.events import publish_on_commit
from portal.lib.rows import update_rows


def group_of(workload_id: int) -> str:
    """The channel group of one workload's page."""
    return f"workload.{workload_id}"


def move_workload(
    workload: Workload,
    status: WorkloadStatus,
    reason: Reason,
    *,
    detail: str = "",
    actor: str = "FastGPU",
    attempt_number: int = 0,
    **columns: Any,
) -> bool:
    """Move `workload` to `status` if its present one admits it; False when it does not.

    Runs in the caller's transaction, writes the timeline and publishes on commit. The update is
    conditional, so of two movers one wins and the other walks away.
    """
    changed = Workload.objects.filter(pk=workload.pk, status__in=_sources(workload, status)).update(
        status=status, reason=reason, detail=detail[:500], **columns
    )
    if not changed:
        return False
    for name, value in {"status": status, "reason": reason, "detail": detail, **columns}.items():
        setattr(workload, name, value)
    event = WorkloadEvent.objects.create(
        workload=workload,
        attempt_number=attempt_number,
        status=status,
        reason=reason,
        message=detail[:500],
        actor=actor,
    )
    _tell(event)
    return True


def start_workloads(started: Sequence[tuple[Workload, Attempt]]) -> None:
    """`move_workload` to running for many at once, each with the attempt that runs and its price.

    The caller holds their rows; one whose status does not admit it is left as it is.
    """
    moved = [
        (job, attempt)
        for job, attempt in started
        if job.status in _sources(job, WorkloadStatus.RUNNING)
    ]
    for job, attempt in moved:
        job.status, job.reason, job.detail = WorkloadStatus.RUNNING, _at_start(job), ""
        job.started_at = job.started_at or attempt.started_at
    update_rows([job for job, _ in moved], ["status", "reason", "detail", "started_at", "price"])
    events = WorkloadEvent.objects.bulk_create(
        WorkloadEvent(
            workload=job,
            attempt_number=attempt.number,
            status=WorkloadStatus.RUNNING,
            reason=job.reason,
            actor="FastGPU",
        )
        for job, attempt in moved
    )
    for event in events:
        _tell(event)


def _at_start(workload: Workload) -> Reason:
    """What is a server only begins to be of use when it answers."""
    is_server = workload.kind == WorkloadKind.NOTEBOOK
    return Reason.SERVER_STARTING if is_server else Reason.RUNNING


def mark_serving(workload: Workload, *, attempt_number: int) -> bool:
    """Note on the timeline that the server of a running workload answers; once."""
    changed = Workload.objects.filter(
        pk=workload.pk, status=WorkloadStatus.RUNNING, reason=Reason.SERVER_STARTING
    ).update(reason=Reason.RUNNING)
    if changed:
        workload.reason = Reason.RUNNING
        event = WorkloadEvent.objects.create(
            workload=workload,
            attempt_number=attempt_number,
            status=WorkloadStatus.RUNNING,
            reason=Reason.RUNNING,
            actor="FastGPU",
        )
        _tell(event)
    return bool(changed)


def _sources(workload: Workload, status: WorkloadStatus) -> list[WorkloadStatus]:
    """From where a workload of its kind may come to `status`."""
    return TRANSITIONS[WorkloadKind(workload.kind)].sources_of(status)


def told(event: WorkloadEvent) -> dict[str, Any]:
    """A step as sockets are told of it; `event` is its number, by which to ask for what follows."""
    return {
        "status": event.status,
        "reason": event.reason,
        "at": event.at.isoformat(),
        "event": event.pk,
        "attempt": event.attempt_number,
        "message": event.message,
    }


def _tell(event: WorkloadEvent) -> None:
    publish_on_commit(group_of(event.workload_id), "status", told(event))


def tell_again(workload_id: int, status: str, reason: str) -> None:
    """Let pages look again at what is no step of the timeline: its number is 0."""
    publish_on_commit(
        group_of(workload_id),
        "status",
        {"status": status, "reason": reason, "at": clock.now().isoformat(), "event": 0},
    )


def set_wait(workload_id: int, reason: Reason, detail: str) -> None:
    """Say why a queued workload waits; no step of its timeline, for such reasons come and go."""
    changed = (
        Workload.objects.filter(pk=workload_id, status=WorkloadStatus.QUEUED)
        .exclude(reason=reason, detail=detail)
        .update(reason=reason, detail=detail)
    )
    if changed:
        tell_again(workload_id, WorkloadStatus.QUEUED, reason)


def move_attempt(
    attempt: Attempt, state: AttemptState, *, is_leased: bool = False, **columns: Any
) -> bool:
    """Move `attempt` to `state` with `columns` if its present state admits it; else False.

    With `is_leased` only while the row carries the lease that `attempt` carries.
    """
    row = Attempt.objects.filter(pk=attempt.pk, state__in=ATTEMPT_TRANSITIONS.sources_of(state))
    if is_leased:
        row = row.filter(lease_token=attempt.lease_token)
    if not row.update(state=state, **columns):
        return False
    for name, value in {"state": state, **columns}.items():
        setattr(attempt, name, value)
    return True


def start_attempts(attempts: Sequence[Attempt]) -> None:
    """`move_attempt` to running for many at once, with what the caller has set on them.

    The caller holds their rows and has seen that their states admit it.
    """
    for attempt in attempts:
        attempt.state = AttemptState.RUNNING
        attempt.lease_token = attempt.lease_expires_at = None
    update_rows(
        attempts,
        [
            "state", "started_at", "submitted_at", "lease_token", "lease_expires_at", "engine_id",
            "node", "missing_since",
        ],
    )  # fmt: skip
