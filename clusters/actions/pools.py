"""Pools, their nodes and GPUs, as the engines report them."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from clusters.backends.base import Health, NodeDescription
from clusters.models import Gpu, Node, Pool
from portal.lib import clock


@transaction.atomic
def refresh_inventory(pool: Pool, nodes: Sequence[NodeDescription], health: Health) -> None:
    """Record nodes, GPUs and health of `pool`. A GPU no longer reported stays, marked absent."""
    now = clock.now()
    present: list[str] = []
    for described in nodes:
        node, _ = Node.objects.update_or_create(
            pool=pool, name=described.name, defaults={"last_seen_at": now}
        )
        for gpu in described.gpus:
            present.append(gpu.uuid)
            Gpu.objects.update_or_create(
                uuid=gpu.uuid,
                defaults={
                    "node": node,
                    "index": gpu.index,
                    "model": gpu.model,
                    "memory_bytes": gpu.memory_bytes,
                    "is_virtual": gpu.is_virtual,
                    "is_present": True,
                },
            )
    Gpu.objects.filter(node__pool=pool).exclude(uuid__in=present).update(is_present=False)
    Pool.objects.filter(pk=pool.pk).update(
        may_start=health.may_start,
        isolation=health.isolation[:80],
        health_detail=health.detail[:300],
        observed_at=now,
    )
