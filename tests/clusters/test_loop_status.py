"""What is stuck is found and said with what to do, in a number of queries that does not grow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import User
from billing.models import Hold, UsageInterval
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.choices import AttemptState
from clusters.control import owners
from clusters.models import Attempt, GpuAllotment, Pool, Workload
from clusters.models import Engine as EngineRow
from clusters.queries.loop import LoopStatus, loop_status
from clusters.tasks import drive_pool, observe
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.bad_backends import QueueingBackend
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


@pytest.fixture
def now(pool: Pool) -> Iterator[datetime]:
    """An instant at which the loop has just looked and a worker lives."""
    at = clock.now()
    with clock.use(lambda: at):
        tick()
        owners.beat()
        yield at


def later(at: datetime, **span: float) -> LoopStatus:
    """The status that long after `at`, had a worker looked at every engine until then."""
    then = at + timedelta(**span)
    with clock.use(lambda: then):
        EngineRow.objects.filter(failing_since=None).update(surveyed_at=then)
        owners.beat()
        return loop_status()


def found(status: LoopStatus) -> list[str]:
    return [row.what for row in status.stuck]


def running(actor: Actor, pool: Pool) -> Attempt:
    job = launch(actor, REQUEST)
    drive_pool(pool.pk)
    return Attempt.objects.get(workload=job)


def test_nothing_is_stuck_while_all_goes_well(actor: Actor, pool: Pool, now: datetime) -> None:
    running(actor, pool)
    status = later(now, seconds=300)
    assert (status.stuck, status.is_well) == ([], True)


def test_engines_and_pools_are_shown_as_they_are(actor: Actor, pool: Pool, now: datetime) -> None:
    running(actor, pool)
    launch(actor, REQUEST)
    launch(actor, REQUEST)
    with clock.use(lambda: now + timedelta(seconds=4)):
        status = loop_status()
    (engine,) = status.engines
    assert (engine.name, engine.label, engine.lag) == ("local", "Fake", timedelta(seconds=4))
    (line,) = status.pools
    assert line.counts == {"intended": 2, "placed": 0, "submitted": 0, "running": 1}
    assert (line.waiting, line.oldest_waiting_at) == (2, now)


def test_workers_that_swept_are_named(now: datetime) -> None:
    (worker,) = later(now).workers or []
    assert worker.name == owners.me()


def test_without_a_worker_somebody_must_look(now: datetime) -> None:
    cache.clear()
    status = loop_status()
    assert "Nobody drives" in found(status)


def test_an_engine_that_fails_is_shown_with_its_error(engine: Engine, now: datetime) -> None:
    engine.backend.is_down = True
    with clock.use(lambda: now + timedelta(seconds=5)):
        observe("local")
    assert found(later(now, seconds=30)) == []
    status = later(now, seconds=90)
    (row,) = status.stuck
    assert (row.what, row.name, row.detail) == (
        "Engine does not answer", "Fake", "the engine does not answer",
    )  # fmt: skip
    (line,) = status.engines
    assert line.failing_since == now + timedelta(seconds=5)
    assert line.retry_at is not None


def test_an_engine_nobody_looks_at_is_found(now: datetime) -> None:
    with clock.use(lambda: now + timedelta(seconds=61)):
        owners.beat()
        assert found(loop_status()) == ["Engine is not looked at"]


def test_an_engine_that_left_the_settings_is_found(settings: Any, now: datetime) -> None:
    Pool.objects.update(backend="gone")
    assert found(later(now)) == ["Engine is gone"]


def test_a_lease_names_its_owner(actor: Actor, pool: Pool, now: datetime) -> None:
    attempt = running(actor, pool)
    held_until = now + timedelta(seconds=20)
    Attempt.objects.update(
        state=AttemptState.PLACED,
        lease_owner="w1",
        lease_token=uuid4(),
        lease_expires_at=held_until,
    )
    (lease,) = later(now).leases
    assert (lease.attempt, lease.owner, lease.expires_at) == (
        attempt.external_name, "w1", held_until,
    )  # fmt: skip


def test_an_open_breaker_and_a_pool_that_starts_nothing_are_found(
    pool: Pool, now: datetime
) -> None:
    Pool.objects.update(breaker_opened_at=now, breaker_detail="3 of 10 machines failed")
    (row,) = later(now).stuck
    assert (row.what, row.detail, row.since) == ("Breaker open", "3 of 10 machines failed", now)
    Pool.objects.update(breaker_opened_at=None, may_start=False, health_detail="no sandbox")
    (row,) = later(now).stuck
    assert (row.what, row.detail) == ("Pool starts nothing", "no sandbox")


def test_a_hand_over_that_takes_long_is_found(actor: Actor, pool: Pool, now: datetime) -> None:
    launch(actor, REQUEST)
    Attempt.objects.update(state=AttemptState.PLACED, placed_at=now)
    assert found(later(now, seconds=60)) == []
    assert found(later(now, seconds=61)) == ["Not handed over"]


@pytest.mark.parametrize("engine_class", [QueueingBackend])
def test_what_no_survey_has_shown_is_found(
    actor: Actor, engine: Engine, pool: Pool, now: datetime
) -> None:
    running(actor, pool)
    with clock.use(lambda: now + timedelta(seconds=1)):
        engine.backend.is_down = True
        observe("local")
    EngineRow.objects.update(surveyed_at=now - timedelta(seconds=1))
    assert "Handed over, never seen" in found(later(now, seconds=61))


def test_what_is_missing_is_found(actor: Actor, pool: Pool, now: datetime) -> None:
    running(actor, pool)
    Attempt.objects.update(missing_since=now)
    assert found(later(now, seconds=9)) == []
    assert found(later(now, seconds=11)) == ["Missing"]


def test_what_does_not_stop_is_found_after_its_grace(
    actor: Actor, pool: Pool, now: datetime
) -> None:
    Pool.objects.update(grace_seconds=100)
    cancel(actor, running(actor, pool).workload.public_id)
    assert found(later(now, seconds=160)) == []
    assert found(later(now, seconds=161)) == ["Does not stop"]


def test_what_waits_though_there_is_room_is_found(actor: Actor, pool: Pool, now: datetime) -> None:
    launch(actor, REQUEST)
    assert found(later(now, seconds=60)) == []
    assert found(later(now, seconds=61)) == ["Waits though there is room"]


def test_a_retry_is_overdue_from_the_time_it_may_start(
    actor: Actor, pool: Pool, now: datetime
) -> None:
    launch(actor, REQUEST)
    Attempt.objects.update(not_before=now + timedelta(seconds=300), number=2)
    assert found(later(now, seconds=360)) == []
    assert found(later(now, seconds=361)) == ["Waits though there is room"]


@pytest.mark.parametrize(
    "closed",
    [{"is_open": False}, {"breaker_opened_at": clock.now()}],
    ids=["pool closed", "breaker open"],
)
def test_nothing_is_overdue_where_nothing_is_started(
    actor: Actor, pool: Pool, now: datetime, closed: dict[str, Any]
) -> None:
    launch(actor, REQUEST)
    Pool.objects.update(**closed)
    assert "Waits though there is room" not in found(later(now, seconds=600))


def test_waiting_for_gpus_that_are_taken_is_well(actor: Actor, pool: Pool, now: datetime) -> None:
    for _ in range(4):
        running(actor, pool)
    launch(actor, REQUEST)
    assert found(later(now, seconds=500)) == []


def test_a_run_without_a_meter_is_found(actor: Actor, pool: Pool, now: datetime) -> None:
    running(actor, pool)
    UsageInterval.objects.update(ended_at=now + timedelta(seconds=1))
    assert found(later(now, seconds=2)) == ["Runs without a meter"]


def test_what_an_ended_run_has_left_behind_is_found(
    actor: Actor, engine: Engine, pool: Pool, now: datetime
) -> None:
    attempt = running(actor, pool)
    engine.backend.end(attempt.external_name, EndReason.COMPLETED)
    tick()
    assert found(later(now, seconds=5)) == []
    UsageInterval.objects.update(ended_at=None)
    GpuAllotment.objects.update(released_at=None)
    Hold.objects.update(released_at=None)
    status = later(now, seconds=5)
    assert found(status) == ["Ended, still metered", "Ended, keeps GPUs", "Ended, keeps a hold"]
    job = Workload.objects.get()
    assert {row.job_id for row in status.stuck} == {job.public_id}


def test_strays_are_found(engine: Engine, now: datetime) -> None:
    engine.backend.strays = ("fg-nobodys-1",)
    tick()
    (row,) = later(now).stuck
    assert (row.what, row.detail) == ("Strays", "1: fg-nobodys-1")


def test_many_runs_in_many_pools_take_no_more_queries(
    actor: Actor, pool: Pool, now: datetime
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            later(now, seconds=600)
        return len(seen)

    launch(actor, REQUEST)
    few = queries()
    for number in range(5):
        more = Pool.objects.get(pk=pool.pk)
        more.pk, more.slug, more.public_id = None, f"b{number}", f"pool_{number}"
        more.save()
        for _ in range(3):
            job = launch(actor, REQUEST)
            Workload.objects.filter(pk=job.pk).update(pool=more)
            Attempt.objects.filter(workload=job).update(pool=more)
    Attempt.objects.filter(pool=pool).update(state=AttemptState.PLACED, placed_at=now)
    assert queries() <= few
    assert few <= 20


def test_the_command_says_all_is_well(pool: Pool, now: datetime) -> None:
    out = StringIO()
    call_command("loop_status", stdout=out)
    assert "local: surveyed 0 s ago" in out.getvalue()
    assert "Nothing is stuck." in out.getvalue()


def test_the_command_exits_with_1_when_something_is_stuck(pool: Pool, now: datetime) -> None:
    Pool.objects.update(may_start=False, health_detail="no sandbox")
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("loop_status", stdout=out)
    assert ended.value.code == 1
    assert "Pool starts nothing: A100 test. no sandbox" in out.getvalue()


def test_the_command_speaks_json(pool: Pool, now: datetime) -> None:
    out = StringIO()
    call_command("loop_status", "--json", stdout=out)
    said = json.loads(out.getvalue())
    assert said["is_well"] is True
    assert said["engines"][0]["lag"] == 0.0
    assert said["pools"][0]["counts"]["running"] == 0


def test_the_console_shows_it(
    client_of: Callable[[User], Client], dora: User, actor: Actor, pool: Pool, now: datetime
) -> None:
    console = client_of(dora)
    assert "Nothing is stuck" in console.get("/admin/clusters/engine/loop/").content.decode()
    attempt = running(actor, pool)
    Attempt.objects.update(missing_since=now - timedelta(seconds=30))
    page = console.get("/admin/clusters/engine/loop/").content.decode()
    assert attempt.external_name in page
    assert "Look for it in the engine" in page


def test_every_page_of_the_console_leads_to_it(
    client_of: Callable[[User], Client], dora: User
) -> None:
    page = client_of(dora).get("/admin/").content.decode()
    assert "/admin/clusters/engine/loop/" in page
