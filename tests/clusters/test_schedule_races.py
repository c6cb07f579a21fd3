"""However many beats and workers there are, each time of a schedule is launched once."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import pytest
from django.db.models.signals import post_save

from accounts.actor import Actor
from clusters.actions.schedules import pause_schedule
from clusters.control.schedules import due_schedules, launch_scheduled, settle
from clusters.models import Schedule, ScheduleRun, Workload
from portal.lib import clock
from tests.clusters.api.test_races import THREADS, at_once
from tests.conftest import Engine
from tests.fakes.schedules import make_schedule, make_volume

pytestmark = pytest.mark.django_db(transaction=True)


def test_many_workers_at_the_same_instant_launch_it_once(engine: Engine, actor: Actor) -> None:
    schedule = make_schedule(actor, make_volume(actor), skips_while_running=False)
    Schedule.objects.update(next_at=clock.now())
    barrier = Barrier(THREADS)

    def worker(_number: int) -> bool:
        # Each has found that it is due before any has dealt with it.
        found = due_schedules()
        barrier.wait()
        return any(launch_scheduled(key) for key in found)

    assert sorted(at_once(worker)) == [False] * (THREADS - 1) + [True]
    assert Workload.objects.count() == 1
    assert ScheduleRun.objects.count() == 1
    following = Schedule.objects.get(pk=schedule.pk).next_at
    assert following is not None
    assert following > clock.now()


def test_launch_that_dies_halfway_has_not_happened_and_is_made_good(
    engine: Engine, actor: Actor
) -> None:
    schedule = make_schedule(actor, make_volume(actor))
    due_at = clock.now()
    Schedule.objects.update(next_at=due_at)

    def die(**_: Any) -> None:
        raise SystemExit

    # The last thing of the transaction, after the job has been written.
    post_save.connect(die, sender=ScheduleRun)
    try:
        with pytest.raises(SystemExit):
            launch_scheduled(schedule.pk)
    finally:
        post_save.disconnect(die, sender=ScheduleRun)
    assert not Workload.objects.exists()
    assert Schedule.objects.get().next_at == due_at
    assert launch_scheduled(schedule.pk)
    assert Workload.objects.count() == 1


def test_pause_and_launch_at_the_same_instant_agree(engine: Engine, actor: Actor) -> None:
    schedule = make_schedule(actor, make_volume(actor))
    Schedule.objects.update(next_at=clock.now())
    barrier = Barrier(THREADS)

    def either(number: int) -> Any:
        barrier.wait()
        if number % 2:
            return launch_scheduled(schedule.pk)
        return pause_schedule(actor, schedule.public_id).is_on

    at_once(either)
    paused = Schedule.objects.get()
    assert (paused.is_on, paused.next_at) == (False, None)
    assert Workload.objects.count() == ScheduleRun.objects.count() <= 1


def test_an_end_is_counted_once(engine: Engine, actor: Actor) -> None:
    schedule = make_schedule(actor, make_volume(actor))
    Schedule.objects.update(next_at=clock.now())
    launch_scheduled(schedule.pk)
    Workload.objects.update(status="failed", ended_at=clock.now())
    barrier = Barrier(THREADS)

    def worker(_number: int) -> int:
        barrier.wait()
        return settle()

    assert sum(at_once(worker)) == 1
    assert Schedule.objects.get().failures_in_row == 1
