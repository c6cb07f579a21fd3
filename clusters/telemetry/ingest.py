"""Takes the samples of node agents, each for the attempt that holds the GPU and no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from clusters.actions.set_status import group_of
from clusters.models import Attempt, GpuAllotment, GpuSample
from portal.lib.events import publish

logger = logging.getLogger(__name__)
HEARTBEAT = "heartbeat:agent"
HEARTBEAT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Reading:
    """What an agent says of one GPU. None is unknown. `external_names`: what it saw placed there;
    may be empty for real GPUs, which an agent may measure without knowing whose work it is.
    """

    uuid: str
    external_names: tuple[str, ...]
    utilization_percent: float | None
    memory_used_bytes: int | None
    power_watts: float | None
    temperature_celsius: float | None


def take(at: datetime, readings: Sequence[Reading]) -> int:
    """Store one beat of one node and show it to who watches; returns how many samples fitted.

    Two queries, however many GPUs. A sample that came before changes nothing; one of a GPU
    nobody holds, or measured under an older attempt, is left out.
    """
    by_uuid = {reading.uuid: reading for reading in readings}
    held = GpuAllotment.objects.filter(
        gpu__uuid__in=by_uuid, released_at__isnull=True
    ).select_related("gpu", "attempt__workload")
    fitting = [
        (allotment, by_uuid[allotment.gpu.uuid])
        for allotment in held.order_by("gpu__node_id", "gpu__index")
        if _belongs(allotment, by_uuid[allotment.gpu.uuid], at)
    ]
    GpuSample.objects.bulk_create(
        [
            GpuSample(
                attempt_id=allotment.attempt_id,
                gpu_id=allotment.gpu_id,
                at=at,
                utilization_percent=reading.utilization_percent,
                memory_used_bytes=reading.memory_used_bytes,
                power_watts=reading.power_watts,
                temperature_celsius=reading.temperature_celsius,
            )
            for allotment, reading in fitting
        ],
        ignore_conflicts=True,
    )
    _show(at, fitting)
    _beat()
    return len(fitting)


def _beat() -> None:
    """Tell /readyz that an agent is there and its samples are kept."""
    try:
        cache.set(HEARTBEAT, 1, HEARTBEAT_SECONDS)
    except (RedisError, OSError) as error:
        # The samples are stored; that the queue is away is readyz's own finding.
        logger.warning("the agent's sign of life was lost: %s", error)


def _belongs(allotment: GpuAllotment, reading: Reading, at: datetime) -> bool:
    """Whether the reading is of the attempt that holds the GPU now."""
    attempt = allotment.attempt
    if reading.external_names or allotment.gpu.is_virtual:
        return attempt.external_name in reading.external_names
    # Nobody said whose work it was, so only the time tells it from the attempt before.
    return attempt.placed_at is not None and at >= attempt.placed_at


def _show(at: datetime, fitting: Sequence[tuple[GpuAllotment, Reading]]) -> None:
    beats: dict[int, tuple[Attempt, list[dict[str, Any]]]] = {}
    for allotment, reading in fitting:
        _, gpus = beats.setdefault(allotment.attempt_id, (allotment.attempt, []))
        gpus.append(
            {
                "uuid": reading.uuid,
                "index": allotment.gpu.index,
                "utilization_percent": reading.utilization_percent,
                "memory_used_bytes": reading.memory_used_bytes,
                "memory_bytes": allotment.gpu.memory_bytes,
                "power_watts": reading.power_watts,
                "temperature_celsius": reading.temperature_celsius,
            }
        )
    for attempt, gpus in beats.values():
        publish(
            group_of(attempt.workload_id),
            "gpu",
            {"at": at.isoformat(), "attempt": attempt.number, "gpus": gpus},
        )
