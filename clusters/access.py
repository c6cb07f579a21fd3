"""The doors to workloads and pools: everything by id goes through the actor."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.access import team_of
from accounts.actor import Actor
from accounts.choices import ActorKind
from clusters.choices import WorkloadKind
from clusters.models import Pool, Workload
from portal.lib.errors import NotFound


def jobs_of(actor: Actor) -> QuerySet[Workload]:
    """The jobs the actor may see, newest first: its team's; all for staff without a team."""
    jobs = Workload.objects.filter(kind=WorkloadKind.JOB).select_related("pool", "price")
    if actor.kind in {ActorKind.STAFF, ActorKind.SYSTEM} and actor.team is None:
        return jobs.order_by("-pk")
    return jobs.filter(team=team_of(actor)).order_by("-pk")


def job_for(actor: Actor, job_id: str) -> Workload:
    """The job with public id `job_id`. Raises NotFound, also for another team's."""
    job = jobs_of(actor).filter(public_id=job_id).first()
    if job is None:
        raise NotFound("There is no such job.")
    return job


def pools_of(_actor: Actor | None) -> QuerySet[Pool]:
    """The pools the actor may use: all open ones."""
    return Pool.objects.filter(is_open=True).order_by("name")
