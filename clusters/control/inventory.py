"""What each pool's engine has, and the drains we ask of it."""

from __future__ import annotations

import logging

from clusters.actions.pools import NOT_REPORTED, refresh_inventory
from clusters.backends.base import Backend, BackendUnavailable
from clusters.backends.capabilities import Drain
from clusters.backends.registry import backend
from clusters.models import Node, Pool

logger = logging.getLogger(__name__)
# Marks a drain as ours in the engine, so that no other is ever lifted.
OURS = "fastgpu: "


def refresh_pool(pool: Pool) -> None:
    """Ask the pool's engine what it has and whether it may start work; assert our drains again."""
    engine: Backend = backend(pool.backend)
    try:
        nodes = engine.inventory(pool.options)
        health = engine.health(pool.options)
        refresh_inventory(pool, nodes, health)
        if isinstance(engine, Drain):
            _assert_drains(pool, engine)
    except BackendUnavailable as error:
        logger.warning("%s does not answer: %s", pool.name, error)


def _assert_drains(pool: Pool, engine: Drain) -> None:
    """A node may be in several pools of one engine: drained in one, it is drained."""
    drained = Node.objects.filter(pool__backend=pool.backend).exclude(drain_reason="")
    reasons = dict(drained.values_list("name", "drain_reason"))
    for node in Node.objects.filter(pool=pool).exclude(problem=NOT_REPORTED):
        reason = reasons.get(node.name, "")
        ours = OURS + reason
        if reason and ours not in node.problem:
            engine.drain(node.name, ours)
        elif not reason and OURS in node.problem:
            engine.undrain(node.name)
