"""Jobs: launch, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from accounts.choices import ActorKind
from accounts.models import Team
from billing.actions.accounts import ensure_account
from billing.actions.budgets import cap_run, check_caps
from billing.actions.holds import release_hold, take_hold
from billing.labels import CostLabels
from billing.queries.prices import price_for
from clusters.access import job_for
from clusters.actions.launch_checks import JobRequest, check_launch
from clusters.actions.locks import lock_workload
from clusters.actions.set_status import move_attempt, move_workload
from clusters.choices import AttemptState, Reason, WorkloadKind, WorkloadStatus, status_after
from clusters.models import Attempt, Pool, Workload, WorkloadEvent
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.money import cost_micros
from portal.lib.tasks import hint_on_commit

RESOURCE_KIND = "workload"
# What is set aside at launch: the first hour, or the whole time limit where that is shorter.
HOLD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Quote:
    """What a launch costs, in micro-units."""

    micros_per_gpu_hour: int
    micros_per_hour: int
    hold_micros: int


def quote(team: Team, *, pool: Pool, gpus: int, time_limit_seconds: int) -> Quote:
    """Price per hour and hold of a launch by `team`. Raises NotFound without a price."""
    price = price_for(ensure_account(team), pool.sku_code, at=clock.now())
    return quote_at(price.micros_per_hour, gpus=gpus, time_limit_seconds=time_limit_seconds)


def quote_at(micros_per_hour: int, *, gpus: int, time_limit_seconds: int) -> Quote:
    """Price per hour and hold at a known price of one GPU."""
    held_us = min(time_limit_seconds, HOLD_SECONDS) * 1_000_000
    return Quote(
        micros_per_gpu_hour=micros_per_hour,
        micros_per_hour=micros_per_hour * gpus,
        hold_micros=cost_micros(micros_per_hour, gpus, held_us),
    )


def launch(actor: Actor, request: JobRequest) -> Workload:
    """`launch_attempt` for who needs the job alone."""
    job, _ = launch_attempt(actor, request)
    return job


@transaction.atomic(savepoint=False)
def launch_attempt(actor: Actor, request: JobRequest) -> tuple[Workload, Attempt]:
    """Queue a job with its first attempt, holding its first hour; returns both.

    Raises InvalidInput, InsufficientFunds. Nothing is made when it raises; a caller that goes on in
    a transaction of its own wraps the call in another.
    """
    team = team_of(actor)
    if actor.user is None:
        raise InvalidInput("A job is launched by a person or with an API key.")
    pool = check_launch(actor, request)
    account = ensure_account(team)
    check_caps(
        account,
        CostLabels(request.project.strip(), actor.user.pk, getattr(actor.api_key, "pk", None)),
    )
    price = price_for(account, pool.sku_code, at=clock.now())
    costs = quote_at(
        price.micros_per_hour, gpus=request.gpus, time_limit_seconds=request.time_limit_seconds
    )
    job = Workload.objects.create(
        team=team,
        created_by=actor.user,
        pool=pool,
        price=price,
        name=request.name.strip(),
        gpus=request.gpus,
        nodes=request.nodes,
        max_retries=request.retries,
        environment=request.environment or pool.environments[0],
        command=request.command,
        env=dict(request.env),
        time_limit_seconds=request.time_limit_seconds,
        project=request.project.strip(),
        api_key=actor.api_key,
    )
    take_hold(
        account,
        resource_kind=RESOURCE_KIND,
        resource_id=job.pk,
        amount_micros=costs.hold_micros,
        labels=job.cost_labels,
    )
    if request.max_cost_micros:
        cap_run(account, job.public_id, amount_micros=request.max_cost_micros)
    attempt = add_attempt(job, number=1)
    WorkloadEvent.objects.create(
        workload=job,
        status=WorkloadStatus.QUEUED,
        reason=Reason.WAITING_FOR_GPUS,
        actor=str(actor.user),
    )
    audit.record(actor, "job.launched", team=team, object_id=job.public_id, gpus=job.gpus)
    hint_on_commit("clusters.tasks.drive_pool", pool.pk)
    return job, attempt


def add_attempt(job: Workload, *, number: int, not_before: datetime | None = None) -> Attempt:
    """The intent to place `job` once more, under a name the engine will know it by."""
    short = job.public_id.removeprefix("job_")
    return Attempt.objects.create(
        workload=job,
        pool_id=job.pool_id,
        number=number,
        external_name=f"fg-{short}-{number}",
        not_before=not_before,
    )


def cancel(actor: Actor, job_id: str) -> Workload:
    """Ask a job to stop. One already stopping is left so; raises Conflict when it has ended."""
    job = job_for(actor, job_id)
    if job.status == WorkloadStatus.STOPPING:
        return job
    request_stop(job, Reason.STOPPED, actor=actor)
    job.refresh_from_db()
    return job


@transaction.atomic
def request_stop(job: Workload, reason: Reason, *, actor: Actor) -> None:
    """Cancel in the queue, or ask the engine to stop what runs.

    Raises Conflict when the job has ended already.
    """
    job = lock_workload(job.pk)
    who = {ActorKind.SYSTEM: "FastGPU", ActorKind.STAFF: "FastGPU staff"}.get(
        actor.kind, str(actor.user)
    )
    now = clock.now()
    attempt = Attempt.objects.filter(workload=job).exclude(state=AttemptState.ENDED).first()
    if attempt is not None and _leave_queue(attempt, reason):
        why = Reason.CANCELLED_IN_QUEUE if attempt.number == 1 else reason
        move_workload(
            job,
            status_after(WorkloadKind(job.kind), why),
            why,
            actor=who,
            attempt_number=attempt.number,
            ended_at=now,
            stop_requested_at=now,
        )
        release_hold(resource_kind=RESOURCE_KIND, resource_id=job.pk)
    elif not move_workload(
        job,
        WorkloadStatus.STOPPING,
        Reason.STOP_REQUESTED,
        actor=who,
        stop_requested_at=now,
        stop_reason=reason,
        attempt_number=attempt.number if attempt else 0,
    ):
        job.refresh_from_db()
        if job.status != WorkloadStatus.STOPPING:
            raise Conflict(f"The {job.get_kind_display().lower()} has ended already.")
        return
    if actor.kind != ActorKind.SYSTEM:
        audit.record(actor, "job.cancelled", team=job.team, object_id=job.public_id)
    hint_on_commit("clusters.tasks.drive_pool", job.pool_id)


def _leave_queue(attempt: Attempt, reason: Reason) -> bool:
    """End an attempt that was never placed; False when it has GPUs already.

    The caller holds the workload's row, which placing takes too, so the state cannot move.
    """
    attempt.refresh_from_db(fields=["state"])
    if attempt.state != AttemptState.INTENDED:
        return False
    return move_attempt(attempt, AttemptState.ENDED, ended_at=clock.now(), reason=reason)
