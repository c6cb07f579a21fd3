"""The control loop on an engine that does what the test says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.models import Hold, UsageInterval
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.choices import AttemptState, Reason, WorkloadStatus
from clusters.control.engines import MIN_INTERVAL
from clusters.control.placement import place
from clusters.control.submit import spec_of
from clusters.models import Attempt, GpuAllotment, Volume, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from portal.lib.errors import NotFound
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import make_volume

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


def run(actor: Actor, engine: Engine, *, gpus: int = 1) -> Workload:
    """A job that has been launched and driven once."""
    job = launch(actor, replace(REQUEST, gpus=gpus))
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    return job


def name_of(job: Workload) -> str:
    return Attempt.objects.get(workload=job).external_name


def test_a_launch_runs_on_allotted_gpus(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine, gpus=2)
    assert job.status == WorkloadStatus.RUNNING
    spec = engine.backend.specs[name_of(job)]
    assert spec.gpu_uuids == ("GPU-fake-0", "GPU-fake-1")
    assert spec.run_id == job.public_id


def test_what_does_not_fit_queues_in_order(actor: Actor, engine: Engine) -> None:
    first = run(actor, engine, gpus=3)
    large = run(actor, engine, gpus=2)
    small = run(actor, engine, gpus=1)
    assert [first.status, large.status, small.status] == ["running", "queued", "queued"]
    engine.backend.end(name_of(first), EndReason.COMPLETED)
    tick()
    large.refresh_from_db()
    small.refresh_from_db()
    assert [large.status, small.status] == ["running", "running"]


def test_a_volume_of_a_moment_ago_has_its_folder_at_the_start(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor)
    launch(actor, replace(REQUEST, volume=volume.public_id))
    drive_pool(engine.pool.pk)
    assert engine.backend.volume_path(volume.public_id).is_dir()


def test_a_launch_whose_volume_was_removed_meanwhile_is_refused_and_leaves_no_folder(
    actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    job = launch(actor, replace(REQUEST, volume=volume.public_id))
    Volume.objects.update(removed_at=clock.now())
    drive_pool(engine.pool.pk)
    attempt = Attempt.objects.get(workload=job)
    assert (attempt.state, attempt.detail) == (AttemptState.ENDED, "Its volume has been removed.")
    assert not engine.backend.volume_path(volume.public_id).exists()


def test_driving_twice_submits_once(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    drive_pool(engine.pool.pk)
    tick()
    assert engine.backend.submits == [name_of(job)]


def test_a_lost_hint_is_found_by_the_sweep(actor: Actor, engine: Engine) -> None:
    job = launch(actor, REQUEST)
    tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING


def test_an_end_closes_usage_with_the_engines_times(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    seen = engine.backend.seen[name_of(job)]
    assert seen.started_at is not None
    ended = seen.started_at + timedelta(seconds=90)
    engine.backend.end(name_of(job), EndReason.COMPLETED, at=ended)
    with clock.use(lambda: ended + timedelta(seconds=1)):
        tick()
    job.refresh_from_db()
    interval = UsageInterval.objects.get(resource_id=job.pk)
    assert (job.status, job.reason) == (WorkloadStatus.SUCCEEDED, Reason.COMPLETED)
    assert (interval.started_at, interval.ended_at) == (seen.started_at, ended)
    assert interval.billed_micros == 2_100_000 * 90 // 3600
    assert not GpuAllotment.objects.filter(released_at__isnull=True).exists()
    assert not Hold.objects.filter(released_at__isnull=True).exists()


def test_an_engine_that_is_down_changes_nothing(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    engine.backend.is_down = True
    tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING


def test_a_forgotten_attempt_is_lost_only_after_a_grace(actor: Actor, engine: Engine) -> None:
    began = clock.now()
    with clock.use(lambda: began):
        job = run(actor, engine)
    with clock.use(lambda: began + timedelta(hours=1)):
        tick()
    del engine.backend.seen[name_of(job)]
    with clock.use(lambda: began + timedelta(hours=2)):
        tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING
    with clock.use(lambda: began + timedelta(hours=2, minutes=3)):
        tick()
    attempt = Attempt.objects.get(workload=job, number=1)
    assert attempt.reason == Reason.NODE_LOST
    assert attempt.ended_at is not None
    # Nobody pays for the hour in which nobody looked. A tick of these tests dates the look before
    # it back, so that it may look itself.
    assert attempt.ended_at == began + timedelta(hours=1) - MIN_INTERVAL


def test_a_refused_launch_fails_and_costs_nothing(actor: Actor, engine: Engine) -> None:
    engine.backend.refusal = "bubblewrap is missing"
    job = run(actor, engine)
    assert (job.status, job.reason) == (WorkloadStatus.FAILED, Reason.START_FAILED)
    assert job.detail == "bubblewrap is missing"
    assert not UsageInterval.objects.exists()
    assert not Hold.objects.filter(released_at__isnull=True).exists()


def test_a_closed_pool_starts_nothing(actor: Actor, engine: Engine) -> None:
    engine.pool.may_start = False
    engine.pool.save()
    assert run(actor, engine).status == WorkloadStatus.QUEUED


def test_cancel_in_the_queue_costs_nothing(actor: Actor, engine: Engine) -> None:
    job = launch(actor, REQUEST)
    cancel(actor, job.public_id)
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.CANCELLED_IN_QUEUE)
    assert engine.backend.submits == []
    assert not Hold.objects.filter(released_at__isnull=True).exists()


def test_cancel_of_a_running_job_stops_it(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    cancel(actor, job.public_id)
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    assert job.status == WorkloadStatus.STOPPING
    assert engine.backend.stops == [name_of(job)]
    engine.backend.end(name_of(job), EndReason.STOPPED)
    tick()
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.STOPPED)


def test_cancel_between_placing_and_submitting_runs_nothing(actor: Actor, engine: Engine) -> None:
    job = launch(actor, REQUEST)
    place(engine.pool.pk)
    cancel(actor, job.public_id)
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.CANCELLED_IN_QUEUE)
    assert engine.backend.submits == []
    assert engine.backend.stops == [name_of(job)]
    assert not UsageInterval.objects.exists()
    assert not GpuAllotment.objects.filter(released_at__isnull=True).exists()


def test_a_crash_between_submit_and_record_is_adopted(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    Attempt.objects.filter(workload=job).update(
        state=AttemptState.PLACED, started_at=None, lease_token=None, lease_expires_at=None
    )
    Workload.objects.filter(pk=job.pk).update(status=WorkloadStatus.STARTING)
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING
    assert len(engine.backend.specs) == 1
    assert UsageInterval.objects.filter(resource_id=job.pk).count() == 1


def test_an_end_seen_at_submit_is_billed(actor: Actor, engine: Engine) -> None:
    job = launch(actor, REQUEST)
    place(engine.pool.pk)
    attempt = Attempt.objects.get(workload=job)
    engine.backend.submit(spec_of(attempt))
    now = clock.now() + timedelta(seconds=2)
    engine.backend.end(attempt.external_name, EndReason.USER_ERROR, exit_code=3, at=now)
    with clock.use(lambda: now + timedelta(seconds=1)):
        drive_pool(engine.pool.pk)
    job.refresh_from_db()
    attempt.refresh_from_db()
    assert (job.status, attempt.exit_code) == (WorkloadStatus.FAILED, 3)
    assert UsageInterval.objects.get(resource_id=job.pk).ended_at == now


@pytest.mark.usefixtures("engine")
def test_a_stranger_cannot_cancel(actor: Actor, charlie: User) -> None:
    job = launch(actor, REQUEST)
    with pytest.raises(NotFound):
        cancel(actor_of_user(charlie), job.public_id)
    job.refresh_from_db()
    assert job.status == WorkloadStatus.QUEUED
