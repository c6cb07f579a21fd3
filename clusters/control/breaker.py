"""Stops a pool from starting work when too many of its machines fail at once.

Then something common to them is broken, and each start would fail one more run. It stays open
until staff close it (the idea is NVSentinel's: automation stops until a human has looked).
"""

from __future__ import annotations

import math
from datetime import timedelta

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
    failed = (
        Attempt.objects.filter(pool=pool, ended_at__gt=since, reason__in=REASONS)
        .exclude(node="")
        .values_list("node", flat=True)
        .distinct()
    )
    names = sorted({name for nodes_of in failed for name in nodes_of.split(",")})
    if len(names) < max(LEAST_NODES, math.ceil(nodes * FRACTION)):
        return False
    shown = ", ".join(names[:8])
    detail = f"{len(names)} of {nodes} machines failed within {WINDOW.seconds // 60} min: {shown}"
    return bool(
        Pool.objects.filter(pk=pool.pk, breaker_opened_at__isnull=True).update(
            breaker_opened_at=now, breaker_detail=detail[:300]
        )
    )
