"""Ends what waits, and asks what runs to end."""

from __future__ import annotations

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from accounts.choices import ActorKind
from billing.actions.holds import release_hold
from clusters.actions.launching import RESOURCE_KIND
from clusters.actions.locks import lock_workload
from clusters.actions.set_status import move_attempt, move_workload
from clusters.choices import AttemptState, Reason, WorkloadKind, WorkloadStatus, status_after
from clusters.models import Attempt, Workload
from portal.lib import clock
from portal.lib.errors import Conflict
from portal.lib.tasks import hint_on_commit


@transaction.atomic
def request_stop(workload: Workload, reason: Reason, *, actor: Actor) -> None:
    """Take it out of the queue, or ask the engine to stop what runs.

    Raises Conflict when it has ended already.
    """
    workload = lock_workload(workload.pk)
    who = {ActorKind.SYSTEM: "FastGPU", ActorKind.STAFF: "FastGPU staff"}.get(
        actor.kind, str(actor.user)
    )
    now = clock.now()
    attempt = Attempt.objects.filter(workload=workload).exclude(state=AttemptState.ENDED).first()
    if attempt is not None and _leave_queue(attempt, reason):
        is_first = attempt.number == workload.first_attempt
        why = Reason.CANCELLED_IN_QUEUE if is_first else reason
        move_workload(
            workload,
            status_after(WorkloadKind(workload.kind), why),
            why,
            actor=who,
            attempt_number=attempt.number,
            ended_at=now,
            stop_requested_at=now,
        )
        release_hold(resource_kind=RESOURCE_KIND, resource_id=workload.pk)
    elif not move_workload(
        workload,
        WorkloadStatus.STOPPING,
        Reason.STOP_REQUESTED,
        actor=who,
        stop_requested_at=now,
        stop_reason=reason,
        attempt_number=attempt.number if attempt else 0,
    ):
        workload.refresh_from_db()
        if workload.status != WorkloadStatus.STOPPING:
            raise Conflict(f"The {workload.get_kind_display().lower()} has ended already.")
        return
    if actor.kind != ActorKind.SYSTEM:
        verb = "stopped" if workload.kind == WorkloadKind.NOTEBOOK else "cancelled"
        audit.record(
            actor, f"{workload.kind}.{verb}", team=workload.team, object_id=workload.public_id
        )
    hint_on_commit("clusters.tasks.drive_pool", workload.pool_id)


def _leave_queue(attempt: Attempt, reason: Reason) -> bool:
    """End an attempt that was never placed; False when it has GPUs already.

    The caller holds the workload's row, which placing takes too, so the state cannot move.
    """
    attempt.refresh_from_db(fields=["state"])
    if attempt.state != AttemptState.INTENDED:
        return False
    return move_attempt(attempt, AttemptState.ENDED, ended_at=clock.now(), reason=reason)
