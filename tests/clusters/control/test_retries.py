"""What is run again by itself, how often and when."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from accounts.actor import Actor
from billing.models import Hold, UsageInterval
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.choices import ENDINGS, REASON_OF_END, AttemptState, Reason, Retry, WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


def run(actor: Actor, engine: Engine, *, retries: int = 0) -> Workload:
    job = launch(actor, replace(REQUEST, retries=retries))
    drive_pool(engine.pool.pk)
    return job


def at(instant: datetime) -> AbstractContextManager[None]:
    """Inside the block it is `instant`."""
    return clock.use(lambda: instant)


def end(engine: Engine, job: Workload, reason: EndReason, *, code: int = 1) -> Workload:
    """The live attempt ends so; returns the job as the loop leaves it."""
    attempt = Attempt.objects.exclude(state=AttemptState.ENDED).get(workload=job)
    engine.backend.end(attempt.external_name, reason, exit_code=code)
    tick()
    job.refresh_from_db()
    return job


def test_every_end_of_an_engine_has_its_row() -> None:
    assert set(REASON_OF_END) == set(EndReason)
    assert set(REASON_OF_END.values()) <= set(ENDINGS)


def test_a_lost_machine_is_followed_by_another_attempt_at_once(
    actor: Actor, engine: Engine
) -> None:
    job = end(engine, run(actor, engine), EndReason.NODE_LOST)
    first, second = Attempt.objects.filter(workload=job).order_by("number")
    assert (first.reason, second.number) == (Reason.NODE_LOST, 2)
    assert second.external_name == first.external_name.removesuffix("-1") + "-2"
    assert job.status == WorkloadStatus.RUNNING


def test_each_attempt_is_metered_for_itself(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine), EndReason.NODE_LOST)
    end(engine, job, EndReason.COMPLETED, code=0)
    intervals = UsageInterval.objects.filter(resource_id=job.pk).order_by("resource_attempt")
    assert [interval.resource_attempt for interval in intervals] == [1, 2]
    assert all(interval.ended_at is not None for interval in intervals)


def test_the_hold_stays_until_the_run_is_over(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine), EndReason.PREEMPTED)
    assert Hold.objects.filter(resource_id=job.pk, released_at__isnull=True).count() == 1
    end(engine, job, EndReason.COMPLETED, code=0)
    assert not Hold.objects.filter(resource_id=job.pk, released_at__isnull=True).exists()


def test_an_error_of_the_command_is_final_unless_retries_were_asked_for(
    actor: Actor, engine: Engine
) -> None:
    job = end(engine, run(actor, engine), EndReason.USER_ERROR)
    assert (job.status, job.reason) == (WorkloadStatus.FAILED, Reason.USER_ERROR)


def test_an_error_of_the_command_is_retried_as_often_as_asked(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine, retries=1), EndReason.USER_ERROR)
    assert job.status == WorkloadStatus.RUNNING
    job = end(engine, job, EndReason.USER_ERROR)
    assert (job.status, Attempt.objects.filter(workload=job).count()) == ("failed", 2)


def test_lost_machines_do_not_use_up_the_retries_asked_for(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine, retries=1), EndReason.NODE_LOST)
    job = end(engine, job, EndReason.USER_ERROR)
    assert job.status == WorkloadStatus.RUNNING


def test_exit_code_75_asks_to_be_run_again(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine), EndReason.USER_ERROR, code=75)
    assert job.status == WorkloadStatus.RUNNING
    assert Attempt.objects.get(workload=job, number=1).reason == Reason.ASKED_REQUEUE


def test_failures_in_a_row_wait_longer(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    end(engine, job, EndReason.NODE_LOST)
    now = clock.now()
    with clock.use(lambda: now):
        job = end(engine, job, EndReason.NODE_LOST)
    third = Attempt.objects.get(workload=job, number=3)
    assert (job.status, job.reason) == (WorkloadStatus.QUEUED, Reason.RETRYING)
    assert third.not_before is not None
    assert third.not_before - now == timedelta(seconds=15)
    due = third.not_before
    with clock.use(lambda: due):
        tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING


def test_who_waits_for_a_retry_does_not_hold_up_others(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.NODE_LOST)
    other = run(actor, engine)
    other.refresh_from_db()
    assert other.status == WorkloadStatus.RUNNING


def test_a_start_that_fails_is_tried_three_times(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    later = clock.now()
    for _ in range(3):
        later += timedelta(seconds=40)
        with at(later):
            tick()
            end(engine, job, EndReason.START_FAILED)
    job.refresh_from_db()
    assert (job.status, Attempt.objects.filter(workload=job).count()) == ("failed", 3)


def test_the_time_limit_counts_over_all_attempts(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    later = clock.now() + timedelta(seconds=200)
    with clock.use(lambda: later):
        end(engine, job, EndReason.NODE_LOST)
        spec = engine.backend.specs[Attempt.objects.get(workload=job, number=2).external_name]
    assert spec.time_limit_seconds in {400, 401}


def test_without_time_left_it_is_not_run_again(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    later = clock.now() + timedelta(seconds=598)
    with clock.use(lambda: later):
        job = end(engine, job, EndReason.NODE_LOST)
    assert (job.status, job.reason) == (WorkloadStatus.FAILED, Reason.NODE_LOST)


def test_a_stop_while_it_waits_for_its_retry_is_final(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.NODE_LOST)
    cancel(actor, job.public_id)
    tick()
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.STOPPED)
    assert not Hold.objects.filter(resource_id=job.pk, released_at__isnull=True).exists()


def test_what_was_asked_to_stop_is_never_run_again(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine, retries=3)
    cancel(actor, job.public_id)
    job = end(engine, job, EndReason.NODE_LOST)
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.STOPPED)
    assert Attempt.objects.get(workload=job).reason == Reason.NODE_LOST


@pytest.mark.parametrize(
    "reason",
    [reason for reason in EndReason if ENDINGS[REASON_OF_END[reason]].retry == Retry.NEVER],
)
def test_what_another_try_would_not_change_is_final(
    actor: Actor, engine: Engine, reason: EndReason
) -> None:
    job = end(engine, run(actor, engine, retries=3), reason)
    assert job.status in {"succeeded", "failed", "cancelled"}


def test_the_engine_is_told_which_attempt_came_before(actor: Actor, engine: Engine) -> None:
    job = end(engine, run(actor, engine), EndReason.NODE_LOST)
    first, second = Attempt.objects.filter(workload=job).order_by("number")
    assert engine.backend.specs[first.external_name].previous_name == ""
    assert engine.backend.specs[second.external_name].previous_name == first.external_name
