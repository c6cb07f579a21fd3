"""Schedules of the suite: a volume, and a notebook in it that is run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accounts.actor import Actor
from clusters.actions.notebook_runs import NotebookRun
from clusters.actions.schedules import ScheduleRequest, create_schedule
from clusters.control.schedules import due_schedules, launch_scheduled, settle, tell
from clusters.models import Schedule, Volume

HOURLY = "0 * * * *"


def make_volume(actor: Actor, name: str = "data") -> Volume:
    """A volume of the actor's team in the storage of the fake engine."""
    assert actor.team is not None
    assert actor.user is not None
    return Volume.objects.create(
        team=actor.team, created_by=actor.user, backend="local", name=name, size_gib=1
    )


def run_in(volume: Volume, **changes: Any) -> NotebookRun:
    """A run of `reports/daily.ipynb` with one GPU for ten minutes."""
    run = NotebookRun(
        name="daily report",
        pool="a100",
        volume=volume.public_id,
        notebook="reports/daily.ipynb",
        time_limit_seconds=600,
    )
    return replace(run, **changes)


def make_schedule(actor: Actor, volume: Volume, **changes: Any) -> Schedule:
    """An hourly one; `run` changes what runs, all else when."""
    run = run_in(volume, **changes.pop("run", {}))
    return create_schedule(actor, replace(ScheduleRequest(run=run, cron=HOURLY), **changes))


def sweep() -> int:
    """What beat and the workers do in one turn; how many schedules were dealt with."""
    dealt_with = sum(launch_scheduled(key) for key in due_schedules())
    settle()
    tell()
    return dealt_with
