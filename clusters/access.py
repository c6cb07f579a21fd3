"""The doors to workloads and pools: everything by id goes through the actor."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from accounts.access import require_owner, team_of
from accounts.actor import Actor
from accounts.choices import ActorKind, Role
from clusters.choices import Service, WorkloadKind
from clusters.models import NotebookGuest, Pool, Schedule, Side, Volume, Workload
from portal.lib.errors import NotFound


def workloads_of(actor: Actor) -> QuerySet[Workload]:
    """What the actor may see, newest first: its team's; all for staff without a team."""
    found = Workload.objects.select_related("pool", "price").order_by("-pk")
    if actor.kind in {ActorKind.STAFF, ActorKind.SYSTEM} and actor.team is None:
        return found
    return found.filter(team=team_of(actor))


def jobs_of(actor: Actor) -> QuerySet[Workload]:
    """The jobs the actor may see, newest first."""
    return workloads_of(actor).filter(kind=WorkloadKind.JOB)


def notebooks_of(actor: Actor) -> QuerySet[Workload]:
    """The notebooks the actor may see, newest first, with what is a notebook's own."""
    found = workloads_of(actor).filter(kind=WorkloadKind.NOTEBOOK)
    return found.filter(notebook__removed_at__isnull=True).select_related(
        "notebook", "volume", "created_by"
    )


def notebook_for(actor: Actor, notebook_id: str) -> Workload:
    """The notebook with public id `notebook_id`. Raises NotFound, also for another team's."""
    found = notebooks_of(actor).filter(public_id=notebook_id).first()
    if found is None:
        raise NotFound("There is no such notebook.")
    return found


def volumes_of(actor: Actor) -> QuerySet[Volume]:
    """The volumes the actor may use, by name: its team's."""
    return Volume.objects.filter(team=team_of(actor), removed_at__isnull=True).order_by("name")


def volume_for(actor: Actor, volume_id: str) -> Volume:
    """The volume with public id `volume_id`. Raises NotFound, also for another team's."""
    found = volumes_of(actor).filter(public_id=volume_id).first()
    if found is None:
        raise NotFound("There is no such volume.")
    return found


def side_for(actor: Actor, side_id: str) -> Side:
    """The server beside the work with public id `side_id`, ended or not. Raises NotFound."""
    found = Side.objects.select_related("workload", "volume").filter(
        team=team_of(actor), public_id=side_id.replace("\0", "")
    )
    side = found.first()
    if side is None:
        raise NotFound("There is no such TensorBoard.")
    return side


def may_open(actor: Actor, workload: Workload, service: Service) -> bool:
    """Whether the actor, who may see `workload`, may open what it serves.

    A terminal is its person's hand: the one who launched it, and owners. A notebook besides those
    whom its person has let in. The view `clusters_app_access` says the same to the proxy.
    """
    user = actor.user
    if user is None:
        return False
    if service == Service.TENSORBOARD or actor.role == Role.OWNER:
        return True
    if workload.created_by_id == user.pk:
        return True
    return (
        service == Service.LAB
        and NotebookGuest.objects.filter(
            share__notebook=workload.pk, share__revoked_at__isnull=True, user=user
        ).exists()
    )


def schedules_of(actor: Actor) -> QuerySet[Schedule]:
    """The schedules the actor may see, newest first: its team's."""
    found = Schedule.objects.filter(team=team_of(actor), removed_at__isnull=True)
    return found.select_related("pool", "volume", "runs_as", "created_by").order_by("-pk")


def schedule_for(actor: Actor, schedule_id: str) -> Schedule:
    """The schedule with public id `schedule_id`. Raises NotFound, also for another team's."""
    found = schedules_of(actor).filter(public_id=schedule_id).first()
    if found is None:
        raise NotFound("There is no such schedule.")
    return found


def may_change_schedule(actor: Actor, schedule: Schedule) -> bool:
    """Whether the actor, who may see `schedule`, may change and run it: who made it, and owners."""
    if actor.role == Role.OWNER:
        return True
    return actor.user is not None and actor.user.pk in {
        schedule.created_by_id,
        schedule.runs_as_id,
    }


def openable(actor: Actor, notebooks: Sequence[Workload]) -> set[int]:
    """The keys of those the actor, who may see them all, may open; at most one query."""
    user = actor.user
    if user is None:
        return set()
    keys = {one.pk for one in notebooks}
    if actor.role == Role.OWNER:
        return keys
    mine = {one.pk for one in notebooks if one.created_by_id == user.pk}
    guest = NotebookGuest.objects.filter(
        share__notebook__in=keys - mine, share__revoked_at__isnull=True, user=user
    )
    return mine | set(guest.values_list("share__notebook", flat=True))


def require_person(actor: Actor, workload: Workload) -> None:
    """Raises NotAllowed unless the actor launched `workload`, or is an owner of its team."""
    if actor.user is None or actor.user.pk != workload.created_by_id:
        require_owner(actor)


def job_for(actor: Actor, job_id: str) -> Workload:
    """The job with public id `job_id`. Raises NotFound, also for another team's."""
    job = jobs_of(actor).filter(public_id=job_id).first()
    if job is None:
        raise NotFound("There is no such job.")
    return job


def pools_of(_actor: Actor | None) -> QuerySet[Pool]:
    """The pools the actor may use: all open ones."""
    return Pool.objects.filter(is_open=True).order_by("name")
