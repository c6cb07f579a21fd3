"""Engines that are slow, stuck, broken, lying, duplicating, forgetting or stale do no harm."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from accounts.actor import Actor
from billing.models import UsageInterval
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason, Wait, WaitCause
from clusters.choices import AttemptState, Reason, WorkloadStatus
from clusters.control.engines import BACKOFF_SECONDS, take_turn
from clusters.control.observe import observe_engine
from clusters.models import Attempt, Workload
from clusters.models import Engine as EngineRow
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes import bad_backends
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


def with_engine(kind: type) -> pytest.MarkDecorator:
    """This test runs on an engine of `kind`."""
    return pytest.mark.parametrize("engine_class", [kind])


def run(actor: Actor, engine: Engine) -> Workload:
    job = launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    job.refresh_from_db()
    return job


def tick_at(instant: datetime) -> None:
    with clock.use(lambda: instant):
        tick()


def the_attempt() -> Attempt:
    return Attempt.objects.get()


@with_engine(bad_backends.SlowBackend)
def test_an_answer_that_came_too_late_is_adopted_and_runs_once(
    actor: Actor, engine: Engine
) -> None:
    job = run(actor, engine)
    assert the_attempt().state == AttemptState.PLACED
    engine.backend.__class__ = FakeBackend
    later = clock.now() + timedelta(seconds=5)
    with clock.use(lambda: later):
        tick()
    job.refresh_from_db()
    assert (job.status, len(engine.backend.specs)) == (WorkloadStatus.RUNNING, 1)


@with_engine(bad_backends.StuckBackend)
def test_silence_for_an_hour_ends_nothing(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    later = clock.now() + timedelta(hours=1)
    with clock.use(lambda: later):
        tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING
    assert UsageInterval.objects.get().ended_at is None


@with_engine(bad_backends.StuckBackend)
def test_what_does_not_answer_is_asked_less_and_less(actor: Actor, engine: Engine) -> None:
    run(actor, engine)
    for step in (*BACKOFF_SECONDS, BACKOFF_SECONDS[-1]):
        EngineRow.objects.update(retry_at=None)
        now = clock.now()
        observe_engine("local", owner="tests")
        row = EngineRow.objects.get()
        assert row.retry_at is not None
        waits = (row.retry_at - now).total_seconds()
        assert 0.8 * step <= waits <= 1.2 * step + 1
        assert not observe_engine("local", owner="tests")


@with_engine(bad_backends.StuckBackend)
def test_nothing_is_sent_to_an_engine_that_does_not_answer(actor: Actor, engine: Engine) -> None:
    observe_engine("local", owner="tests")
    run(actor, engine)
    assert engine.backend.submits == []


@with_engine(bad_backends.BrokenBackend)
def test_a_defect_of_a_backend_is_shown_and_lets_go_of_the_engine(
    actor: Actor, engine: Engine
) -> None:
    with pytest.raises(ZeroDivisionError):
        observe_engine("local", owner="tests")
    row = EngineRow.objects.get()
    assert (row.error, row.lease_token) == ("ZeroDivisionError: a defect", None)


@with_engine(bad_backends.LyingBackend)
def test_nobody_pays_for_an_engines_wrong_clock(actor: Actor, engine: Engine) -> None:
    before = clock.now()
    run(actor, engine)
    engine.backend.end(the_attempt().external_name, EndReason.COMPLETED)
    tick()
    interval = UsageInterval.objects.get()
    assert interval.ended_at is not None
    assert before <= interval.started_at <= interval.ended_at <= clock.now()


@with_engine(bad_backends.DuplicatingBackend)
def test_a_name_nobody_gave_is_shown_to_staff_and_left_alone(actor: Actor, engine: Engine) -> None:
    run(actor, engine)
    tick()
    assert EngineRow.objects.get().strays == [f"{the_attempt().external_name}.again"]
    assert engine.backend.stops == []


@with_engine(bad_backends.ForgettingBackend)
def test_half_a_list_ends_nothing(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    now = clock.now()
    for minute in range(9):
        tick_at(now + timedelta(minutes=minute))
    job.refresh_from_db()
    assert (job.status, Attempt.objects.count()) == (WorkloadStatus.RUNNING, 1)


@with_engine(bad_backends.StaleBackend)
def test_an_old_list_is_not_believed(actor: Actor, engine: Engine) -> None:
    tick()
    job = run(actor, engine)
    later = clock.now() + timedelta(minutes=5)
    with clock.use(lambda: later):
        tick()
        tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING
    assert the_attempt().missing_since is None


def test_what_ended_but_is_still_there_is_stopped_once(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    name = the_attempt().external_name
    lost = engine.backend.seen.pop(name)
    tick()
    later = clock.now() + timedelta(minutes=3)
    with clock.use(lambda: later):
        tick()
        engine.backend.seen[name] = lost
        engine.backend.strays = (name,)
        tick()
        tick()
    assert Attempt.objects.get(workload=job, number=1).state == AttemptState.ENDED
    assert engine.backend.stops == [name]


def test_an_attempt_that_comes_back_within_the_grace_goes_on(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    lost = engine.backend.seen.pop(the_attempt().external_name)
    tick()
    assert the_attempt().missing_since is not None
    engine.backend.seen[lost.external_name] = lost
    tick()
    job.refresh_from_db()
    assert (job.status, the_attempt().missing_since) == (WorkloadStatus.RUNNING, None)


def test_one_looks_at_a_time(engine: Engine) -> None:
    assert take_turn("local", owner="one") is not None
    assert take_turn("local", owner="two") is None


def test_two_beats_make_one_look_a_second(actor: Actor, engine: Engine) -> None:
    assert observe_engine("local", owner="one")
    assert not observe_engine("local", owner="two")


@with_engine(bad_backends.QueueingBackend)
def test_an_engine_that_queues_is_handed_everything(actor: Actor, engine: Engine) -> None:
    jobs = [launch(actor, REQUEST) for _ in range(6)]
    drive_pool(engine.pool.pk)
    assert len(engine.backend.submits) == 6
    states = set(Attempt.objects.values_list("state", "engine_id"))
    assert states == {(AttemptState.SUBMITTED, "4711")}
    assert {Workload.objects.get(pk=job.pk).status for job in jobs} == {WorkloadStatus.QUEUED}


@with_engine(bad_backends.QueueingBackend)
def test_why_it_waits_is_told_in_words(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    backend = engine.backend
    name = the_attempt().external_name
    wait = Wait(WaitCause.QUOTA, "The team's GPUs are all in use.", "Wait, or ask for fewer.")
    backend.seen[name] = replace(backend.seen[name], wait=wait)
    tick()
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.QUEUED, Reason.WAITING_QUOTA)
    assert job.detail == "The team's GPUs are all in use. Wait, or ask for fewer."


@with_engine(bad_backends.QueueingBackend)
def test_what_waited_in_the_engine_is_charged_from_its_start(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    assert not UsageInterval.objects.exists()
    assert isinstance(engine.backend, bad_backends.QueueingBackend)
    engine.backend.start(the_attempt().external_name, node="gpu7")
    tick()
    job.refresh_from_db()
    assert (job.status, the_attempt().node) == (WorkloadStatus.RUNNING, "gpu7")
    assert UsageInterval.objects.get().started_at == the_attempt().started_at


@with_engine(bad_backends.QueueingBackend)
def test_cancel_of_what_waits_in_the_engine_costs_nothing(actor: Actor, engine: Engine) -> None:
    job = run(actor, engine)
    cancel(actor, job.public_id)
    tick()
    name = the_attempt().external_name
    assert engine.backend.stops == [name]
    engine.backend.end(name, EndReason.STOPPED)
    tick()
    job.refresh_from_db()
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.CANCELLED_IN_QUEUE)
    assert not UsageInterval.objects.exists()


def test_a_stop_the_engine_did_not_heed_is_repeated_after_the_grace(
    actor: Actor, engine: Engine
) -> None:
    job = run(actor, engine)
    cancel(actor, job.public_id)
    tick()
    tick()
    assert len(engine.backend.stops) == 1
    later = clock.now() + timedelta(minutes=1)
    with clock.use(lambda: later):
        tick()
    assert len(engine.backend.stops) == 2
