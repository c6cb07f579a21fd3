"""Machines: kept from new work, and given it again."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet

from accounts.actions import audit
from accounts.actor import Actor
from clusters.backends.capabilities import Drain
from clusters.models import Node
from clusters.queries.engines import engine_named
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.tasks import hint_on_commit

MAX_REASON = 200


@transaction.atomic
def drain(actor: Actor, node: Node, reason: str) -> None:
    """Give `node` no new work, for a reason the engine shows too; what runs there goes on.

    It is drained in every pool of its engine that has it. Draining again changes the reason.
    Raises InvalidInput, and Conflict where nothing of ours or of the engine's keeps work off.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidInput.of(reason=f"Say why, on one line of at most {MAX_REASON} characters.")
    engine = engine_named(node.pool.backend)
    if engine.queues and not isinstance(engine, Drain):
        raise Conflict(f"The engine of {node.pool.name} cannot keep work off a node.")
    drained_at = node.drained_at or clock.now()
    _everywhere(node).update(drain_reason=reason, drained_at=drained_at)
    _record(actor, "node.drained", node, reason)


@transaction.atomic
def undrain(actor: Actor, node: Node, reason: str) -> None:
    """Let `node` take work again. A problem the engine itself has with it stays.

    Raises Conflict where it is not drained by us.
    """
    drained = _everywhere(node).exclude(drain_reason="")
    if not drained.update(drain_reason="", drained_at=None):
        raise Conflict(f"{node.name} is not drained.")
    _record(actor, "node.undrained", node, reason)


def _everywhere(node: Node) -> QuerySet[Node]:
    """The machine in each pool of its engine: partitions may share machines."""
    return Node.objects.filter(name=node.name, pool__backend=node.pool.backend)


def _record(actor: Actor, verb: str, node: Node, reason: str) -> None:
    node.refresh_from_db()
    audit.record(
        replace(actor, reason=reason),
        verb,
        team=None,
        object_id=f"{node.pool.slug}/{node.name}"[:60],
        node=node.name,
    )
    # The engine is told, and the portal places there again, without waiting for the sweep.
    for pool_id in _everywhere(node).order_by("pool_id").values_list("pool_id", flat=True):
        hint_on_commit("clusters.tasks.refresh_pool", pool_id)
        hint_on_commit("clusters.tasks.drive_pool", pool_id)
