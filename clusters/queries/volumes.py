"""Volumes as they are shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from accounts.actor import Actor
from billing.queries.storage import month_micros_of
from clusters.access import pools_of
from clusters.actions.trees import keeper
from clusters.actions.volumes import RESOURCE_KIND, may_change
from clusters.backends.capabilities import Volumes
from clusters.backends.registry import backend_names
from clusters.choices import AT_REST
from clusters.models import Pool, Volume, Workload


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume with what it costs a month, what has it mounted, and where that can be.

    `used_bytes` and `percent` are None as long as it was never measured.
    """

    volume: Volume
    month_micros: int
    mounted: tuple[Workload, ...]
    place: str
    pools: tuple[Pool, ...]
    may_change: bool

    @property
    def found_at(self) -> str:
        """Where notebooks and jobs find it."""
        return found_at(self.volume)

    @property
    def used_bytes(self) -> int | None:
        """Bytes on the disk, as far as they are known."""
        return self.volume.used_bytes if self.volume.measured_at else None

    @property
    def percent(self) -> int | None:
        """Of its size, rounded up: what is nearly full does not look empty."""
        used = self.used_bytes
        return None if used is None else min(100, -(-100 * used // self.volume.size_bytes))

    @property
    def level(self) -> str:
        """`bad` where it is full, `warn` where it soon is."""
        percent = self.percent or 0
        return "bad" if percent >= 95 else "warn" if percent >= 80 else "ok"


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere volumes are kept, and the pools that can mount them; `pool` names it."""

    pool: Pool
    label: str
    pools: tuple[Pool, ...]

    @property
    def words(self) -> str:
        """It and what can mount it, on one line."""
        return f"{self.label}: {', '.join(pool.name for pool in self.pools)}"


def found_at(volume: Volume) -> str:
    """Where work that mounts it finds it."""
    engine = keeper(volume.backend)
    return (engine or Volumes).mount_point


def rows_of(actor: Actor, volumes: Sequence[Volume]) -> list[VolumeRow]:
    """The lines of `volumes`, in a fixed number of queries."""
    keys = [volume.pk for volume in volumes]
    costs = month_micros_of(RESOURCE_KIND, keys)
    mounted: dict[int, list[Workload]] = defaultdict(list)
    holders = Workload.objects.filter(volume__in=keys).exclude(status__in=AT_REST)
    for workload in holders.order_by("-pk"):
        if workload.volume_id is not None:
            mounted[workload.volume_id].append(workload)
    pools: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools_of(actor):
        pools[pool.backend].append(pool)
    names = backend_names()
    return [
        VolumeRow(
            volume=volume,
            month_micros=costs.get(volume.pk, 0),
            mounted=tuple(mounted[volume.pk]),
            place=names.get(volume.backend, volume.backend),
            pools=tuple(pools[volume.backend]),
            may_change=may_change(actor, volume),
        )
        for volume in volumes
    ]


def places_of(actor: Actor) -> list[Place]:
    """Where a new volume can lie: the engines of open pools that keep volumes."""
    pools: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools_of(actor):
        pools[pool.backend].append(pool)
    names = backend_names()
    return [
        Place(here[0], names.get(name, name), tuple(here))
        for name, here in pools.items()
        if keeper(name) is not None
    ]
