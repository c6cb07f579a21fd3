"""What each pool's engine has, and the drains we ask of it."""

from __future__ import annotations

import logging

from clusters.actions.pools import refresh_inventory
from clusters.backends.base import Backend, BackendUnavailable, Drain
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
    for node in Node.objects.filter(pool=pool).exclude(drain_reason="", problem=""):
        ours = OURS + node.drain_reason
        if node.drain_reason and ours not in node.problem:
            engine.drain(node.name, ours)
        elif not node.drain_reason and OURS in node.problem:
            engine.undrain(node.name)
