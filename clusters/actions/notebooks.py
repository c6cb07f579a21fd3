"""Notebooks: launch, stop, start again, keep, remove."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import may_open, notebook_for, require_person
from clusters.actions.launch_checks import refuse
from clusters.actions.launching import add_attempt, hold_again, queue_new
from clusters.actions.locks import lock_workload
from clusters.actions.notebook_checks import NotebookRequest, check_notebook, environments_of
from clusters.actions.request_checks import check_idle_minutes, check_stop_at, check_volume
from clusters.actions.set_status import move_workload
from clusters.actions.stopping import request_stop
from clusters.choices import AT_REST, Reason, Service, WorkloadKind, WorkloadStatus
from clusters.models import Attempt, Notebook, Workload
from portal.lib import clock, ids
from portal.lib.errors import Conflict, InvalidInput, NotAllowed
from portal.lib.tasks import hint_on_commit

# What every notebook runs: our launcher of JupyterLab, from the SDK that each sandbox sees.
COMMAND = "exec python -m fastgpu.lab"
KEEP = timedelta(hours=1)


@transaction.atomic(savepoint=False)
def launch_notebook(actor: Actor, request: NotebookRequest) -> tuple[Workload, Attempt]:
    """Queue a notebook with its first attempt, holding its first hour; returns both.

    Raises InvalidInput, InsufficientFunds. Nothing is made when it raises; a caller that goes on in
    a transaction of its own wraps the call in another.
    """
    team = team_of(actor)
    if actor.user is None:
        raise InvalidInput("A notebook is launched by a person or with an API key.")
    places = check_notebook(actor, request)
    workload = Workload(
        public_id=ids.new_id("nb"),
        kind=WorkloadKind.NOTEBOOK,
        team=team,
        created_by=actor.user,
        pool=places.pool,
        volume=places.volume,
        name=request.name.strip(),
        gpus=request.gpus,
        environment=request.environment or environments_of(places.pool)[0],
        command=COMMAND,
        time_limit_seconds=request.lifetime_seconds,
        project=request.project.strip(),
        api_key=actor.api_key,
    )
    attempt = queue_new(actor, workload, max_cost_micros=request.max_cost_micros)
    Notebook.objects.create(
        workload=workload, idle_minutes=request.idle_limit, stop_at=request.stop_at
    )
    return workload, attempt


@transaction.atomic
def start_notebook(actor: Actor, notebook_id: str) -> Workload:
    """Queue a notebook that rests once more, with all it was launched with.

    One that is on its way or runs is left so. Raises InsufficientFunds, Conflict where its pool
    has closed, InvalidInput where its volume went away.
    """
    found = _mine(actor, notebook_id)
    workload = lock_workload(found.pk)
    if workload.status not in AT_REST:
        return workload
    if not workload.pool.is_open:
        raise Conflict(f"{workload.pool.name} is closed. Launch a copy of it in another pool.")
    if workload.volume is not None:
        volume = None if workload.volume.removed_at else workload.volume
        refuse({"volume": check_volume(workload.pool, volume, workload.volume.public_id)})
    price = hold_again(workload)
    number = workload.attempts.count() + 1
    move_workload(
        workload,
        WorkloadStatus.QUEUED,
        Reason.WAITING_FOR_GPUS,
        actor=str(actor.user),
        attempt_number=number,
        first_attempt=number,
        price=price,
        stop_requested_at=None,
        stop_reason="",
        started_at=None,
        ended_at=None,
    )
    # A time to stop that has passed would end it at once; so would the idleness of before.
    Notebook.objects.filter(workload=workload).update(
        keep_until=None, idle_since=None, stops_at=None, stops_for="", warned_at=None
    )
    Notebook.objects.filter(workload=workload, stop_at__lte=clock.now()).update(stop_at=None)
    add_attempt(workload, number=number)
    audit.record(actor, "notebook.started", team=workload.team, object_id=workload.public_id)
    hint_on_commit("clusters.tasks.drive_pool", workload.pool_id)
    return workload


def stop_notebook(actor: Actor, notebook_id: str) -> Workload:
    """Ask a notebook to stop; one that is stopping is left so. Raises Conflict when it rests."""
    workload = _mine(actor, notebook_id)
    if workload.status != WorkloadStatus.STOPPING:
        request_stop(workload, Reason.STOPPED, actor=actor)
        workload.refresh_from_db()
    return workload


@transaction.atomic
def keep_notebook(actor: Actor, notebook_id: str) -> Workload:
    """Let idleness not count for an hour from now; the countdown goes away."""
    workload = _mine(actor, notebook_id)
    if workload.status in AT_REST:
        raise Conflict("The notebook is not running.")
    Notebook.objects.filter(workload=workload).update(
        keep_until=clock.now() + KEEP, idle_since=None, stops_at=None, stops_for="", warned_at=None
    )
    audit.record(actor, "notebook.kept", team=workload.team, object_id=workload.public_id)
    return workload


@transaction.atomic
def set_stops(
    actor: Actor, notebook_id: str, *, idle_minutes: int, stop_at: datetime | None
) -> Workload:
    """Change when it stops by itself; it holds at once. Raises InvalidInput."""
    workload = _mine(actor, notebook_id)
    refuse({"idle_minutes": check_idle_minutes(idle_minutes), "stop_at": check_stop_at(stop_at)})
    Notebook.objects.filter(workload=workload).update(
        idle_minutes=idle_minutes, stop_at=stop_at, stops_at=None, stops_for="", warned_at=None
    )
    audit.record(
        actor,
        "notebook.stops_set",
        team=workload.team,
        object_id=workload.public_id,
        idle_minutes=idle_minutes,
    )
    return workload


@transaction.atomic
def remove_notebook(actor: Actor, notebook_id: str) -> None:
    """List it no more. Only its person and owners may. Raises Conflict while it does not rest."""
    found = notebook_for(actor, notebook_id)
    require_person(actor, found)
    workload = lock_workload(found.pk)
    if workload.status not in AT_REST:
        raise Conflict("Stop the notebook before you remove it.")
    Notebook.objects.filter(workload=workload).update(removed_at=clock.now())
    audit.record(actor, "notebook.removed", team=workload.team, object_id=workload.public_id)


def _mine(actor: Actor, notebook_id: str) -> Workload:
    """The notebook, if the actor may work in it. Raises NotFound, NotAllowed."""
    workload = notebook_for(actor, notebook_id)
    if not may_open(actor, workload, Service.LAB):
        raise NotAllowed("This notebook is another member's. They can share it with you.")
    return workload
