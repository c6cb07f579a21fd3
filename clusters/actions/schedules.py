"""Schedules: create, change, pause, resume, remove, run now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import may_change_schedule, pools_of, schedule_for, volumes_of
from clusters.actions.notebook_checks import environments_of
from clusters.actions.notebook_runs import (
    Launched,
    NotebookRun,
    check_run,
    clean_path,
    run_notebook,
)
from clusters.choices import AT_REST, RunOutcome
from clusters.models import Schedule, ScheduleRun
from clusters.times import check_cron, check_zone, next_after
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, TooMany

MAX_SCHEDULES = 100


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """A schedule as asked for: what runs, and when.

    `skips_while_running`: a time that comes while the run before still goes is skipped.
    `catches_up`: when FastGPU was away, it is run once for all the times that passed.
    """

    run: NotebookRun
    cron: str
    timezone: str = "UTC"
    skips_while_running: bool = True
    catches_up: bool = True


@transaction.atomic
def create_schedule(actor: Actor, request: ScheduleRequest) -> Schedule:
    """Make one that is on. Raises InvalidInput, TooMany."""
    team = team_of(actor)
    if actor.user is None:
        raise InvalidInput("A schedule is made by a person or with an API key.")
    columns = _columns(actor, request)
    team = type(team).objects.select_for_update(no_key=True).get(pk=team.pk)
    if Schedule.objects.filter(team=team, removed_at__isnull=True).count() >= MAX_SCHEDULES:
        raise TooMany(f"A team has at most {MAX_SCHEDULES} schedules. Remove one first.")
    schedule = Schedule.objects.create(
        team=team,
        created_by=actor.user,
        next_at=next_after(request.cron, request.timezone, clock.now()),
        **columns,
    )
    _record(actor, "schedule.created", schedule)
    return schedule_for(actor, schedule.public_id)


@transaction.atomic
def update_schedule(actor: Actor, schedule_id: str, request: ScheduleRequest) -> Schedule:
    """Replace what runs and when; from now on it runs as the actor.

    Raises InvalidInput, NotAllowed, NotFound.
    """
    schedule = _locked(actor, schedule_id)
    for name, value in _columns(actor, request).items():
        setattr(schedule, name, value)
    if schedule.is_on:
        schedule.next_at = next_after(schedule.cron, schedule.timezone, clock.now())
    schedule.failures_in_row = 0
    schedule.save()
    _record(actor, "schedule.changed", schedule)
    return schedule_for(actor, schedule_id)


@transaction.atomic
def pause_schedule(actor: Actor, schedule_id: str) -> Schedule:
    """Launch nothing until it is resumed; what runs goes on. One that is paused is left so."""
    schedule = _locked(actor, schedule_id)
    if schedule.is_on:
        turn_off(schedule, "")
        _record(actor, "schedule.paused", schedule)
    return schedule_for(actor, schedule_id)


@transaction.atomic
def resume_schedule(actor: Actor, schedule_id: str) -> Schedule:
    """Go on with the next time to come, as the actor. One that is on is left so."""
    schedule = _locked(actor, schedule_id)
    if not schedule.is_on:
        schedule.is_on = True
        schedule.next_at = next_after(schedule.cron, schedule.timezone, clock.now())
        schedule.failures_in_row, schedule.paused_reason = 0, ""
        schedule.runs_as, schedule.api_key = _person(actor), actor.api_key
        schedule.save()
        _record(actor, "schedule.resumed", schedule)
    return schedule_for(actor, schedule_id)


@transaction.atomic
def remove_schedule(actor: Actor, schedule_id: str) -> None:
    """List it no more; its runs and what they left stay."""
    schedule = _locked(actor, schedule_id)
    schedule.is_on, schedule.next_at, schedule.removed_at = False, None, clock.now()
    schedule.save(update_fields=["is_on", "next_at", "removed_at"])
    _record(actor, "schedule.removed", schedule)


@transaction.atomic(savepoint=False)
def run_now(actor: Actor, schedule_id: str) -> Launched:
    """Launch it once as the actor, beside its times.

    Raises Conflict where it shall not run twice at once and does, and what a launch raises.
    """
    schedule = _locked(actor, schedule_id)
    if schedule.skips_while_running and is_running(schedule):
        raise Conflict("The run before is still going. Stop it, or wait for its end.")
    now = clock.now()
    launched = run_notebook(actor, run_of(schedule), at=now)
    note_run(schedule, RunOutcome.LAUNCHED, due_at=now, launched=launched, is_manual=True)
    return launched


def run_of(schedule: Schedule) -> NotebookRun:
    """What it launches."""
    return NotebookRun(
        name=schedule.name,
        pool=schedule.pool.slug,
        volume=schedule.volume.public_id,
        notebook=schedule.notebook,
        output_folder=schedule.output_folder,
        parameters=schedule.parameters,
        gpus=schedule.gpus,
        environment=schedule.environment,
        time_limit_seconds=schedule.time_limit_seconds,
        project=schedule.project,
        max_cost_micros=schedule.max_cost_micros,
    )


def request_of(schedule: Schedule) -> ScheduleRequest:
    """What would make it again."""
    return ScheduleRequest(
        run=run_of(schedule),
        cron=schedule.cron,
        timezone=schedule.timezone,
        skips_while_running=schedule.skips_while_running,
        catches_up=schedule.catches_up,
    )


def is_running(schedule: Schedule) -> bool:
    """Whether a run of it waits or runs."""
    launched = schedule.runs.filter(outcome=RunOutcome.LAUNCHED)
    return launched.exclude(workload__status__in=AT_REST).exists()


def turn_off(schedule: Schedule, reason: str) -> None:
    """Launch nothing any more; `reason` is why FastGPU does so by itself. The row is locked."""
    schedule.is_on, schedule.next_at, schedule.paused_reason = False, None, reason[:300]
    schedule.save(update_fields=["is_on", "next_at", "paused_reason"])


def note_run(
    schedule: Schedule, outcome: RunOutcome, *, launched: Launched | None = None, **columns: Any
) -> ScheduleRun:
    """Write down what came of a time, with the job that was launched if any."""
    return ScheduleRun.objects.create(
        schedule=schedule,
        outcome=outcome,
        workload=launched.job if launched else None,
        output=launched.output if launched else "",
        **columns,
    )


def check_times(request: ScheduleRequest) -> Mapping[str, str]:
    """What is wrong with when it shall run, by field."""
    problems = {"cron": check_cron(request.cron), "timezone": check_zone(request.timezone)}
    return {name: problem for name, problem in problems.items() if problem}


def _columns(actor: Actor, request: ScheduleRequest) -> dict[str, Any]:
    """What is written of a request. Raises InvalidInput naming every field that is wrong."""
    found = dict(check_times(request))
    try:
        check_run(actor, request.run)
    except InvalidInput as error:
        found = {**error.fields, **found}
    if found:
        raise InvalidInput(next(iter(found.values())), fields=found)
    run = request.run
    pool = pools_of(actor).get(slug=run.pool)
    return {
        "runs_as": _person(actor),
        "api_key": actor.api_key,
        "name": run.name.strip(),
        "cron": " ".join(request.cron.split()),
        "timezone": request.timezone,
        "volume": volumes_of(actor).get(public_id=run.volume),
        "notebook": clean_path(run.notebook),
        "output_folder": clean_path(run.output_folder),
        "parameters": dict(run.parameters),
        "pool": pool,
        "gpus": run.gpus,
        "environment": run.environment or environments_of(pool)[0],
        "time_limit_seconds": run.time_limit_seconds,
        "project": run.project.strip(),
        "max_cost_micros": run.max_cost_micros,
        "skips_while_running": request.skips_while_running,
        "catches_up": request.catches_up,
    }


def _person(actor: Actor) -> Any:
    if actor.user is None:
        raise NotAllowed("Only a person can have something run as them.")
    return actor.user


def _locked(actor: Actor, schedule_id: str) -> Schedule:
    """The schedule, locked until the transaction ends. Raises NotFound, NotAllowed."""
    found = schedule_for(actor, schedule_id)
    if not may_change_schedule(actor, found):
        raise NotAllowed("This schedule is another member's. They, or an owner, can change it.")
    rows = Schedule.objects.select_related("pool", "volume", "team")
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=found.pk)


def _record(actor: Actor, verb: str, schedule: Schedule) -> None:
    audit.record(actor, verb, team=schedule.team, object_id=schedule.public_id)
