"""Stops a pool from starting work when too many of its machines fail at once.

Then something common to them is broken, and each start would fail one more run. It stays open
until staff close it (the idea is NVSentinel's: automation stops until a human has looked).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from clusters.choices import ENDINGS
from clusters.models import Attempt, Node, Pool
from portal.lib import clock

WINDOW = timedelta(minutes=10)
# Of the pool's machines, and never fewer than two: one machine may fail alone.
FRACTION = 0.3
LEAST_NODES = 2
REASONS = [reason for reason, ending in ENDINGS.items() if ending.counts_against_node]


def consider_breaker(pool: Pool) -> bool:
    """Open the breaker of `pool` if too many of its nodes failed attempts in the window."""
    nodes = Node.objects.filter(pool=pool).count()
    if nodes < LEAST_NODES:
        return False
    now = clock.now()
    since = max(filter(None, [now - WINDOW, pool.breaker_closed_at]))
    names = _failed_nodes(pool, since)
    if len(names) < max(LEAST_NODES, math.ceil(nodes * FRACTION)):
        return False
    shown = ", ".join(names[:8])
    detail = f"{len(names)} of {nodes} machines failed within {WINDOW.seconds // 60} min: {shown}"
    return bool(
        Pool.objects.filter(pk=pool.pk, breaker_opened_at__isnull=True).update(
            breaker_opened_at=now, breaker_detail=detail[:300]
        )
    )


def _failed_nodes(pool: Pool, since: datetime) -> list[str]:
    """Machines that failed attempts; of those that ran together, the ones with a problem now."""
    failed = (
        Attempt.objects.filter(pool=pool, ended_at__gt=since, reason__in=REASONS)
        .exclude(node="")
        .values_list("node", flat=True)
        .distinct()
    )
    groups = [nodes.split(",") for nodes in failed]
    alone = {nodes[0] for nodes in groups if len(nodes) == 1}
    together = {name for nodes in groups if len(nodes) > 1 for name in nodes}
    broken = Node.objects.filter(pool=pool, name__in=together).exclude(problem="")
    return sorted(alone | set(broken.values_list("name", flat=True)))
