"""What engines report is recorded; pools are opened and closed, and breakers closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import AuditEvent, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.pools import (
    NOT_REPORTED,
    close_breaker,
    close_pool,
    open_pool,
    refresh_inventory,
)
from clusters.backends.base import Health, NodeDescription
from clusters.choices import WorkloadStatus
from clusters.control.inventory import refresh_pool
from clusters.models import Gpu, Node, Pool
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from tests.conftest import Engine
from tests.fakes.cluster_backend import node_of
from tests.fakes.loop import tick

HEALTHY = Health(may_start=True, isolation="fake", detail="")
REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


@pytest.fixture
def staff(dora: User) -> Actor:
    """Dora."""
    return Actor.staff(dora, team=None, reason="")


def report(pool: Pool, *nodes: NodeDescription) -> None:
    refresh_inventory(pool, nodes, HEALTHY)


def present(pool: Pool) -> int:
    return Gpu.objects.filter(node__pool=pool, is_present=True).count()


def test_what_is_wrong_with_a_node_and_what_it_uses_is_kept(pool: Pool) -> None:
    report(pool, node_of("n1", "DRAIN: fan 3", in_use=5))
    node = Node.objects.get(name="n1")
    assert (node.problem, node.gpus_in_use) == ("DRAIN: fan 3", 5)
    report(pool, node_of("n1", in_use=0))
    node.refresh_from_db()
    assert (node.problem, node.gpus_in_use) == ("", 0)


def test_environment_that_is_not_built_is_not_offered_and_a_launch_in_it_says_so(
    engine: Engine, actor: Actor
) -> None:
    engine.backend.health_now = replace(HEALTHY, environments=("system", "other"))
    refresh_pool(engine.pool)
    assert Pool.objects.get().offered_environments == ["system"]
    assert launch(actor, REQUEST).environment == "system"
    for environment, words in (
        ("python-data", "python-data is not built yet for A100 test"),
        ("other", "Choose one of: system"),
    ):
        with pytest.raises(InvalidInput, match=words), transaction.atomic():
            launch(actor, replace(REQUEST, environment=environment))


def test_pool_without_any_environment_starts_nothing(engine: Engine, actor: Actor) -> None:
    engine.backend.health_now = replace(HEALTHY, environments=())
    refresh_pool(engine.pool)
    with pytest.raises(InvalidInput, match="No environment is built yet"):
        launch(actor, REQUEST)


def test_engine_that_does_not_tell_offers_all(engine: Engine) -> None:
    engine.backend.health_now = replace(HEALTHY, environments=("system",))
    refresh_pool(engine.pool)
    engine.backend.health_now = HEALTHY
    refresh_pool(engine.pool)
    assert Pool.objects.get().offered_environments == ["python-data", "system"]


def test_what_is_no_longer_reported_stays_and_is_marked(pool: Pool) -> None:
    report(pool, node_of("n1", in_use=5), node_of("n2"))
    seen = Node.objects.get(name="n1").last_seen_at
    report(pool, node_of("n2", gpus=7))
    gone = Node.objects.get(name="n1")
    assert (gone.problem, gone.gpus_in_use, gone.last_seen_at) == (NOT_REPORTED, None, seen)
    assert present(pool) == 7
    report(pool, node_of("n1"), node_of("n2"))
    assert (Node.objects.get(name="n1").problem, present(pool)) == ("", 16)


def test_a_node_drained_by_us_stays_so_when_it_is_reported_anew(pool: Pool) -> None:
    report(pool, node_of("n1"))
    Node.objects.filter(name="n1").update(drain_reason="fan")
    report(pool, node_of("n1", "DRAIN: fastgpu: fan"))
    assert Node.objects.get(name="n1").drain_reason == "fan"


def test_an_answer_that_names_a_node_twice_is_taken(pool: Pool) -> None:
    report(pool, node_of("n1"), node_of("n1", "down"))
    assert Node.objects.get(pool=pool, name="n1").problem == "down"


def test_a_gpu_is_in_one_open_pool_and_moves_when_that_is_closed(pool: Pool) -> None:
    report(pool, node_of("n1"))
    second = Pool.objects.create(slug="b", name="B", backend="local", sku_code="a100-test")
    report(second, node_of("n1"))
    assert (present(pool), present(second)) == (8, 0)
    Pool.objects.filter(pk=pool.pk).update(is_open=False)
    report(second, node_of("n1"))
    assert (present(pool), present(second)) == (0, 8)


def test_pools_share_machines_where_the_engine_allots_the_gpus(pool: Pool) -> None:
    second = Pool.objects.create(slug="b", name="B", backend="local", sku_code="a100-test")
    for each in (pool, second, pool):
        report(each, node_of("n1", in_use=3))
    assert (present(pool), present(second)) == (8, 8)


def test_names_too_long_for_the_column_stay_apart(pool: Pool) -> None:
    report(pool, node_of("n" * 100, in_use=0))
    assert present(pool) == 8


def test_a_thousand_nodes_take_as_many_queries_as_one(pool: Pool) -> None:
    report(pool)
    counts = []
    for size in (1, 1000, 1000):
        nodes = [node_of(f"n{number}", in_use=8) for number in range(size)]
        with CaptureQueriesContext(
            connection,
        ) as queries:
            report(pool, *nodes)
        counts.append(len(queries))
    assert counts[1] <= counts[0] + 1
    assert counts[2] <= counts[0]
    assert present(pool) == 8000


def test_a_closed_pool_takes_no_launch(staff: Actor, actor: Actor, pool: Pool) -> None:
    close_pool(staff, pool, "Moving racks")
    with pytest.raises(InvalidInput, match="no such pool"):
        launch(actor, REQUEST)


def test_a_closed_pool_keeps_what_waits(
    staff: Actor, actor: Actor, engine: Engine, pool: Pool
) -> None:
    job = launch(actor, REQUEST)
    close_pool(staff, pool, "Moving racks")
    tick()
    job.refresh_from_db()
    assert (job.status, engine.backend.submits) == (WorkloadStatus.QUEUED, [])
    open_pool(staff, pool, "Racks are moved")
    tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.RUNNING


def test_opening_and_closing_stand_in_the_audit_trail(staff: Actor, pool: Pool) -> None:
    close_pool(staff, pool, "Moving racks")
    open_pool(staff, pool, "Racks are moved")
    events = AuditEvent.objects.filter(object_id=pool.public_id).order_by("pk")
    assert [(event.verb, event.reason, event.user) for event in events] == [
        ("pool.closed", "Moving racks", staff.user),
        ("pool.opened", "Racks are moved", staff.user),
    ]


def test_what_is_so_already_is_a_conflict(staff: Actor, pool: Pool) -> None:
    with pytest.raises(Conflict, match="is open already"):
        open_pool(staff, pool, "again")
    with pytest.raises(Conflict, match="is not open"):
        close_breaker(staff, pool, "again")
    assert not AuditEvent.objects.filter(object_id=pool.public_id).exists()


def test_a_closed_breaker_lets_work_start_and_forgets_old_failures(
    staff: Actor, actor: Actor, engine: Engine, pool: Pool
) -> None:
    opened = clock.now() - timedelta(minutes=1)
    Pool.objects.update(breaker_opened_at=opened, breaker_detail="3 of 10 machines")
    launch(actor, REQUEST)
    tick()
    assert engine.backend.submits == []
    close_breaker(staff, pool, "The switch is mended")
    tick()
    assert len(engine.backend.submits) == 1
    assert pool.breaker_opened_at is None
    assert pool.breaker_closed_at is not None
    assert pool.breaker_closed_at > opened
    assert AuditEvent.objects.get(verb="pool.breaker_closed").reason == "The switch is mended"
