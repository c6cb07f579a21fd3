"""Pools: what their engines report, open and closed, the circuit breaker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from accounts.actions import audit
from accounts.actor import Actor
from clusters.backends.base import GpuDescription, Health, NodeDescription
from clusters.models import Gpu, Node, Pool
from portal.lib import clock
from portal.lib.errors import Conflict
from portal.lib.tasks import hint_on_commit

MAX_UUID = 80
NOT_REPORTED = "The engine no longer reports it."
_NODE_FACTS = ("problem", "gpus_in_use")
_GPU_FACTS = ("node_id", "index", "model", "memory_bytes", "is_virtual", "is_present")


@transaction.atomic
def refresh_inventory(pool: Pool, nodes: Sequence[NodeDescription], health: Health) -> None:
    """Record nodes, GPUs and health of `pool`, in a number of queries that no size changes.

    A node or GPU no longer reported stays: the node with `NOT_REPORTED`, the GPU marked absent.
    A GPU that the portal allots and another open pool has already stays there: none is sold twice.
    """
    now = clock.now()
    described = {node.name[:100]: node for node in nodes}
    keys = _record_nodes(pool, described, now)
    _record_gpus(
        pool,
        {
            _uuid_of(pool, node, gpu): (gpu, keys[name])
            for name, node in described.items()
            for gpu in node.gpus
        },
    )
    Pool.objects.filter(pk=pool.pk).update(
        may_start=health.may_start,
        isolation=health.isolation[:80],
        health_detail=health.detail[:300],
        present_environments=None if health.environments is None else list(health.environments),
        observed_at=now,
    )


def _record_nodes(
    pool: Pool, described: dict[str, NodeDescription], now: datetime
) -> dict[str, int]:
    """Returns the key of each node that is reported, by its name."""
    known = {node.name: node for node in Node.objects.filter(pool=pool)}
    changed = []
    for name in sorted(described):  # one order, so that two at once wait and do not deadlock
        facts = (described[name].problem[:300], described[name].gpus_in_use)
        node = known.get(name)
        if node is None or (node.problem, node.gpus_in_use) != facts:
            fresh = Node(pool=pool, name=name, problem=facts[0], gpus_in_use=facts[1])
            changed.append(fresh)
    Node.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["pool", "name"],
        update_fields=list(_NODE_FACTS),
    )
    Node.objects.filter(pool=pool, name__in=list(described)).update(last_seen_at=now)
    Node.objects.filter(pool=pool).exclude(name__in=list(described)).exclude(
        problem=NOT_REPORTED, gpus_in_use__isnull=True
    ).update(problem=NOT_REPORTED, gpus_in_use=None)
    return dict(Node.objects.filter(pool=pool).values_list("name", "pk"))


def _uuid_of(pool: Pool, node: NodeDescription, gpu: GpuDescription) -> str:
    """Under which UUID a GPU is kept.

    Where the engine allots by itself, pools may share machines (partitions that overlap), and
    each has a row of its own. What is too long for the column is cut, with a digest for the rest.
    """
    uuid = gpu.uuid if node.gpus_in_use is None else f"{pool.pk}/{gpu.uuid}"
    if len(uuid) <= MAX_UUID:
        return uuid
    digest = hashlib.sha256(uuid.encode()).hexdigest()[:32]
    return f"{uuid[: MAX_UUID - len(digest) - 1]}~{digest}"


def _record_gpus(pool: Pool, described: dict[str, tuple[GpuDescription, int]]) -> None:
    """One read of all that concerns the pool, then only what changed is written."""
    known = Gpu.objects.filter(Q(node__pool=pool) | Q(uuid__in=list(described))).values_list(
        "uuid", "node__pool_id", "node__pool__is_open", *_GPU_FACTS
    )
    facts_of = {row[0]: row[3:] for row in known}
    elsewhere = {row[0] for row in known if row[1] != pool.pk and row[2] and row[-1]}
    gone = [row[0] for row in known if row[1] == pool.pk and row[-1] and row[0] not in described]
    changed = []
    for uuid in sorted(described.keys() - elsewhere):
        gpu, node_id = described[uuid]
        facts = (node_id, gpu.index, gpu.model[:80], gpu.memory_bytes, gpu.is_virtual, True)
        if facts_of.get(uuid) != facts:
            changed.append(Gpu(uuid=uuid, **dict(zip(_GPU_FACTS, facts, strict=True))))
    Gpu.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["uuid"],
        update_fields=["node", *_GPU_FACTS[1:]],
    )
    Gpu.objects.filter(uuid__in=gone).update(is_present=False)


@transaction.atomic
def open_pool(actor: Actor, pool: Pool, reason: str) -> None:
    """Let people launch in `pool`. Raises Conflict where they may."""
    if not Pool.objects.filter(pk=pool.pk, is_open=False).update(is_open=True):
        raise Conflict(f"{pool.name} is open already.")
    _record(actor, "pool.opened", pool, reason)


@transaction.atomic
def close_pool(actor: Actor, pool: Pool, reason: str) -> None:
    """Start nothing more in `pool`; what runs goes on, what waits keeps its place.

    Raises Conflict where it is closed.
    """
    if not Pool.objects.filter(pk=pool.pk, is_open=True).update(is_open=False):
        raise Conflict(f"{pool.name} is closed already.")
    _record(actor, "pool.closed", pool, reason)


@transaction.atomic
def close_breaker(actor: Actor, pool: Pool, reason: str) -> None:
    """Start work again after too many machines failed; failures before now count no more.

    Raises Conflict where the breaker is not open.
    """
    if not Pool.objects.filter(pk=pool.pk, breaker_opened_at__isnull=False).update(
        breaker_opened_at=None, breaker_closed_at=clock.now(), breaker_detail=""
    ):
        raise Conflict(f"The breaker of {pool.name} is not open.")
    _record(actor, "pool.breaker_closed", pool, reason)


def _record(actor: Actor, verb: str, pool: Pool, reason: str) -> None:
    pool.refresh_from_db()
    audit.record(replace(actor, reason=reason), verb, team=None, object_id=pool.public_id)
    hint_on_commit("clusters.tasks.drive_pool", pool.pk)
