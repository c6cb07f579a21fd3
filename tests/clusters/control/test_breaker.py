"""When too many machines of a pool fail at once, it starts nothing until staff have looked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.actor import Actor
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.choices import WorkloadStatus
from clusters.models import Node, Pool, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.bad_backends import QueueingBackend
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)
pytestmark = pytest.mark.parametrize("engine_class", [QueueingBackend])


@pytest.fixture
def pool(engine: Engine) -> Pool:
    """A pool of ten machines."""
    Node.objects.bulk_create(Node(pool=engine.pool, name=f"gpu{i}") for i in range(9))
    return engine.pool


def lose(actor: Actor, engine: Engine, node: str, reason: EndReason) -> None:
    """A job runs on `node` and ends there for `reason`."""
    assert isinstance(engine.backend, QueueingBackend)
    before = set(engine.backend.seen)
    launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    (name,) = set(engine.backend.seen) - before
    engine.backend.start(name, node=node)
    tick()
    engine.backend.end(name, reason)
    tick()


def is_open(pool: Pool) -> bool:
    pool.refresh_from_db()
    return pool.breaker_opened_at is not None


def test_three_of_ten_lost_machines_open_it(actor: Actor, engine: Engine, pool: Pool) -> None:
    for node in ("gpu1", "gpu2"):
        lose(actor, engine, node, EndReason.NODE_LOST)
    assert not is_open(pool)
    lose(actor, engine, "gpu3", EndReason.GPU_FAILED)
    assert is_open(pool)
    assert pool.breaker_detail == "3 of 10 machines failed within 10 min: gpu1, gpu2, gpu3"


def test_one_machine_that_fails_again_and_again_does_not(
    actor: Actor, engine: Engine, pool: Pool
) -> None:
    for _ in range(4):
        lose(actor, engine, "gpu1", EndReason.NODE_LOST)
    assert not is_open(pool)


def test_of_a_run_on_several_machines_only_the_broken_ones_count(
    actor: Actor, engine: Engine, pool: Pool
) -> None:
    lose(actor, engine, "gpu1,gpu2,gpu3,gpu4", EndReason.NODE_LOST)
    assert not is_open(pool)
    Node.objects.filter(name__in=["gpu2", "gpu3"]).update(problem="not responding")
    lose(actor, engine, "gpu5", EndReason.NODE_LOST)
    assert is_open(pool)
    assert pool.breaker_detail.endswith(": gpu2, gpu3, gpu5")


def test_errors_of_the_command_do_not(actor: Actor, engine: Engine, pool: Pool) -> None:
    for node in ("gpu1", "gpu2", "gpu3", "gpu4"):
        lose(actor, engine, node, EndReason.USER_ERROR)
    assert not is_open(pool)


def test_what_failed_long_ago_does_not_count(actor: Actor, engine: Engine, pool: Pool) -> None:
    lose(actor, engine, "gpu1", EndReason.NODE_LOST)
    lose(actor, engine, "gpu2", EndReason.NODE_LOST)
    later = clock.now() + timedelta(minutes=11)
    with clock.use(lambda: later):
        lose(actor, engine, "gpu3", EndReason.NODE_LOST)
    assert not is_open(pool)


def test_an_open_one_starts_nothing_and_loses_nothing(
    actor: Actor, engine: Engine, pool: Pool
) -> None:
    for node in ("gpu1", "gpu2", "gpu3"):
        lose(actor, engine, node, EndReason.NODE_LOST)
    submits = len(engine.backend.submits)
    job = launch(actor, REQUEST)
    tick()
    job.refresh_from_db()
    assert (job.status, len(engine.backend.submits)) == (WorkloadStatus.QUEUED, submits)
    Pool.objects.update(breaker_opened_at=None, breaker_closed_at=clock.now())
    later = clock.now() + timedelta(minutes=1)
    with clock.use(lambda: later):
        tick()
    assert len(engine.backend.submits) > submits
    assert Workload.objects.filter(status=WorkloadStatus.FAILED).count() == 0
