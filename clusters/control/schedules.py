"""Launches what is due, once; counts what failed; tells people what went wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.actor import Actor
from accounts.choices import ActorKind, Role
from accounts.models import Membership
from billing.actions.telling import tell_once
from clusters.actions.notebook_runs import run_notebook
from clusters.actions.schedules import is_running, note_run, run_of, turn_off
from clusters.choices import AT_REST, RunOutcome, WorkloadStatus
from clusters.emails import send_schedule_trouble
from clusters.models import Schedule, ScheduleRun
from clusters.times import count_between, next_after
from portal.lib import clock
from portal.lib.errors import NotAllowed, PortalError

AT_ONCE = 200
# Later than this, its time has passed: it is run for having been missed, or not at all.
LATE = timedelta(minutes=5)
MOST_MISSED = 1_000
TOLD_WITHIN = timedelta(days=7)
STILL_RUNNING = "The run before was still going."


class Revoked(NotAllowed):
    """Whom a schedule runs as has lost the right; it is not tried again."""


def due_schedules() -> list[int]:
    """Keys of what is due, the longest overdue first."""
    due = Schedule.objects.filter(is_on=True, next_at__lte=clock.now())
    return list(due.order_by("next_at", "pk").values_list("pk", flat=True)[:AT_ONCE])


@transaction.atomic
def launch_scheduled(schedule_id: int) -> bool:
    """Deal with the time that is due, if one is; False when another has, or does now.

    The row is locked and its next time moves on in the transaction of the launch, so however many
    try, one has the run, and after a death between the two neither has happened.
    """
    now = clock.now()
    schedule = (
        Schedule.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
        .select_related("team", "runs_as", "api_key", "pool", "volume")
        .filter(pk=schedule_id, is_on=True, next_at__lte=now)
        .first()
    )
    if schedule is None or schedule.next_at is None:
        return False
    due_at = schedule.next_at
    _move_on(schedule, now)
    missed = count_between(schedule.cron, schedule.timezone, due_at, now, most=MOST_MISSED)
    words = _missed_words(missed)
    if not schedule.catches_up and now - due_at > LATE:
        note_run(schedule, RunOutcome.MISSED, due_at=due_at, detail=_missed_words(missed + 1))
    elif schedule.skips_while_running and is_running(schedule):
        note_run(schedule, RunOutcome.SKIPPED, due_at=due_at, detail=STILL_RUNNING)
    else:
        _launch(schedule, due_at, words)
    return True


def _move_on(schedule: Schedule, now: datetime) -> None:
    schedule.next_at = next_after(schedule.cron, schedule.timezone, now)
    schedule.save(update_fields=["next_at"])


def _missed_words(count: int) -> str:
    if not count:
        return ""
    times = "1 time" if count == 1 else f"{count:,} times"
    more = " or more" if count >= MOST_MISSED else ""
    return f"{times}{more} passed while FastGPU was away."


def _launch(schedule: Schedule, due_at: datetime, words: str) -> None:
    try:
        with transaction.atomic():
            launched = run_notebook(actor_now(schedule), run_of(schedule), at=due_at)
    except Revoked as error:
        note_run(schedule, RunOutcome.REFUSED, due_at=due_at, detail=error.message[:500])
        turn_off(schedule, error.message)
    except PortalError as error:
        note_run(schedule, RunOutcome.REFUSED, due_at=due_at, detail=error.message[:500])
        _count_failure(schedule)
    else:
        note_run(schedule, RunOutcome.LAUNCHED, due_at=due_at, launched=launched, detail=words)


def actor_now(schedule: Schedule) -> Actor:
    """Whom it runs as, with the rights of now. Raises Revoked."""
    person = schedule.runs_as
    name = person.get_short_name()
    member = Membership.objects.filter(team=schedule.team_id, user=person).first()
    if member is None:
        raise Revoked(f"{name}, whom it ran as, has left the team.")
    if not person.is_active:
        raise Revoked(f"The account of {name}, whom it ran as, is closed.")
    key = schedule.api_key
    if key is not None and key.revoked_at is not None:
        raise Revoked(f"The API key {key.name}, which it was made with, is revoked.")
    return Actor(
        kind=ActorKind.API_KEY if key else ActorKind.USER,
        user=person,
        team=schedule.team,
        role=Role(member.role),
        api_key=key,
        reason=f"schedule {schedule.public_id}",
    )


def _count_failure(schedule: Schedule) -> None:
    """One more in a row; pauses it where that is enough. The row is locked."""
    schedule.failures_in_row += 1
    schedule.save(update_fields=["failures_in_row"])
    if schedule.is_on and schedule.failures_in_row >= settings.SCHEDULE_FAILURES:
        turn_off(schedule, f"It failed {schedule.failures_in_row} times in a row.")


def settle() -> int:
    """Count the runs that have ended since the last look; returns how many."""
    ended = ScheduleRun.objects.filter(
        outcome=RunOutcome.LAUNCHED, settled_at__isnull=True, workload__status__in=AT_REST
    )
    keys = ended.order_by("workload__ended_at", "pk").values_list("pk", flat=True)[:AT_ONCE]
    return sum(_settle(key) for key in list(keys))


@transaction.atomic
def _settle(run_id: int) -> bool:
    run = ScheduleRun.objects.select_related("workload").get(pk=run_id)
    schedule = Schedule.objects.select_for_update(no_key=True).get(pk=run.schedule_id)
    still_open = ScheduleRun.objects.filter(pk=run_id, settled_at__isnull=True)
    if not still_open.update(settled_at=clock.now()):
        return False
    status = run.workload.status if run.workload else ""
    if status == WorkloadStatus.SUCCEEDED:
        Schedule.objects.filter(pk=schedule.pk).update(failures_in_row=0)
    elif status == WorkloadStatus.FAILED and not run.is_manual:
        _count_failure(schedule)
    return True


def tell() -> int:
    """Mail what could not be launched and what failed, each once; returns how many mails."""
    wrong = Q(outcome=RunOutcome.REFUSED) | Q(
        settled_at__isnull=False, workload__status=WorkloadStatus.FAILED
    )
    runs = ScheduleRun.objects.filter(
        wrong, told_at__isnull=True, is_manual=False, at__gt=clock.now() - TOLD_WITHIN
    )
    related = ("schedule__team", "schedule__runs_as", "workload")
    told = 0
    for run in list(runs.select_related(*related).order_by("pk")[:AT_ONCE]):
        row = ScheduleRun.objects.filter(pk=run.pk)
        told += tell_once(row, lambda run=run: send_schedule_trouble(run))  # type: ignore[misc]
    return told


def realign() -> int:
    """Bring next times back that a clock which was ahead has put too far; returns how many.

    A time that has been dealt with is not dealt with again.
    """
    now, moved = clock.now(), 0
    for schedule in Schedule.objects.filter(is_on=True).order_by("pk").iterator():
        sooner = next_after(schedule.cron, schedule.timezone, now)
        while schedule.runs.filter(due_at=sooner, is_manual=False).exists():
            sooner = next_after(schedule.cron, schedule.timezone, sooner)
        if schedule.next_at and sooner < schedule.next_at:
            row = Schedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at)
            moved += row.update(next_at=sooner)
    return moved
