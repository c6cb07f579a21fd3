"""Machines are kept from new work, and given it again."""

from __future__ import annotations

import pytest

from accounts.actor import Actor
from accounts.models import AuditEvent, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.nodes import drain, undrain
from clusters.choices import WorkloadStatus
from clusters.models import Node, Pool
from clusters.tasks import refresh_one
from portal.lib.errors import Conflict, InvalidInput
from tests.conftest import Engine
from tests.fakes.bad_backends import QueueingBackend
from tests.fakes.cluster_backend import ClusterBackend
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


@pytest.fixture
def staff(dora: User) -> Actor:
    """Dora."""
    return Actor.staff(dora, team=None, reason="")


@pytest.fixture
def node(pool: Pool) -> Node:
    """The pool's first machine."""
    node = Node.objects.select_related("pool").order_by("name").first()
    assert node is not None
    return node


def test_a_drained_node_gets_no_new_work_and_keeps_what_runs(
    staff: Actor, actor: Actor, engine: Engine, node: Node
) -> None:
    running = launch(actor, REQUEST)
    tick()
    drain(staff, node, "fan 3 is loud")
    waiting = launch(actor, REQUEST)
    tick()
    for job in (running, waiting):
        job.refresh_from_db()
    assert (running.status, waiting.status) == (WorkloadStatus.RUNNING, WorkloadStatus.QUEUED)
    undrain(staff, node, "the fan is new")
    tick()
    waiting.refresh_from_db()
    assert waiting.status == WorkloadStatus.RUNNING


def test_it_is_drained_in_every_pool_of_its_engine(staff: Actor, node: Node) -> None:
    second = Pool.objects.create(slug="b", name="B", backend="local", sku_code="a100-test")
    other = Pool.objects.create(slug="c", name="C", backend="another", sku_code="a100-test")
    for pool in (second, other):
        Node.objects.create(pool=pool, name=node.name)
    drain(staff, node, "fan 3 is loud")
    drained = Node.objects.exclude(drain_reason="").order_by("pk")
    assert [each.pool for each in drained] == [node.pool, second]
    undrain(staff, node, "the fan is new")
    assert not drained.all().exists()


def test_draining_again_changes_the_reason_and_not_the_time(staff: Actor, node: Node) -> None:
    drain(staff, node, "fan 3 is loud")
    first = node.drained_at
    drain(staff, node, "fan 3 has failed")
    assert (node.drain_reason, node.drained_at) == ("fan 3 has failed", first)
    assert first is not None


def test_both_stand_in_the_audit_trail(staff: Actor, node: Node) -> None:
    drain(staff, node, "fan 3 is loud")
    undrain(staff, node, "the fan is new")
    events = AuditEvent.objects.filter(detail__node=node.name).order_by("pk")
    assert [(event.verb, event.reason) for event in events] == [
        ("node.drained", "fan 3 is loud"),
        ("node.undrained", "the fan is new"),
    ]


def test_what_is_not_drained_cannot_be_given_back(staff: Actor, node: Node) -> None:
    with pytest.raises(Conflict, match="is not drained"):
        undrain(staff, node, "why not")


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 201, "bell\x07", "nul\0"])
def test_a_reason_the_engine_could_not_show_is_refused(
    staff: Actor, node: Node, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        drain(staff, node, reason)
    assert list(refused.value.fields) == ["reason"]


@pytest.mark.parametrize("engine_class", [ClusterBackend])
def test_the_engine_is_told_and_told_again(staff: Actor, engine: Engine) -> None:
    assert isinstance(engine.backend, ClusterBackend)
    Pool.objects.update(options={"partition": "gpu"})
    refresh_one(engine.pool.pk)
    node = Node.objects.select_related("pool").get(name="gpu2")
    drain(staff, node, "fan 3 is loud")
    refresh_one(engine.pool.pk)
    assert engine.backend.drained == {"gpu2": "fastgpu: fan 3 is loud"}
    engine.backend.drained.clear()
    refresh_one(engine.pool.pk)
    refresh_one(engine.pool.pk)
    assert engine.backend.drained == {"gpu2": "fastgpu: fan 3 is loud"}


@pytest.mark.parametrize("engine_class", [QueueingBackend])
def test_an_engine_that_places_by_itself_must_be_able_to(staff: Actor, node: Node) -> None:
    with pytest.raises(Conflict, match="cannot keep work off"):
        drain(staff, node, "fan 3 is loud")
