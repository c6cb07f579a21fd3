"""Jobs: launch, cancel."""

from __future__ import annotations

from django.db import transaction

from accounts.access import team_of
from accounts.actor import Actor
from clusters.access import job_for
from clusters.actions.launch_checks import JobRequest, check_launch
from clusters.actions.launching import queue_new
from clusters.actions.stopping import request_stop
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Attempt, Workload
from portal.lib.errors import InvalidInput


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
    places = check_launch(actor, request)
    pool = places.pool
    job = Workload(
        team=team,
        created_by=actor.user,
        pool=pool,
        volume=places.volume,
        name=request.name.strip(),
        gpus=request.gpus,
        nodes=request.nodes,
        max_retries=request.retries,
        environment=request.environment or pool.offered_environments[0],
        command=request.command,
        env=dict(request.env),
        time_limit_seconds=request.time_limit_seconds,
        project=request.project.strip(),
        api_key=actor.api_key,
    )
    return job, queue_new(actor, job, max_cost_micros=request.max_cost_micros)


def cancel(actor: Actor, job_id: str) -> Workload:
    """Ask a job to stop. One already stopping is left so; raises Conflict when it has ended."""
    job = job_for(actor, job_id)
    if job.status == WorkloadStatus.STOPPING:
        return job
    request_stop(job, Reason.STOPPED, actor=actor)
    job.refresh_from_db()
    return job
