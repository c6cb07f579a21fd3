"""A cluster in memory that schedules by itself and wants to know a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from clusters.backends.base import Backend, GpuDescription, NodeDescription, PoolOption
from clusters.backends.capabilities import Drain, MultiNode
from tests.fakes.bad_backends import QueueingBackend


class ClusterBackend(QueueingBackend, MultiNode, Drain):
    """Four nodes of eight GPUs in the partition `gpu`; other partitions are empty."""

    latest: ClassVar[ClusterBackend]
    pool_options = (
        PoolOption("partition", "Partition", "Letters, digits and _.", r"\w+", is_required=True),
        PoolOption("account", "Account", "What sacct books it on.", default="fastgpu"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.drained: dict[str, str] = {}
        ClusterBackend.latest = self

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        self._answer()
        if options.get("partition") != "gpu":
            return []
        return [node_of(f"gpu{number}", self.drained.get(f"gpu{number}", "")) for number in "1234"]

    def drain(self, node: str, reason: str) -> None:
        self.drained[node] = reason

    def undrain(self, node: str) -> None:
        self.drained.pop(node, None)


def node_of(
    name: str, problem: str = "", *, gpus: int = 8, in_use: int | None = None
) -> NodeDescription:
    """A machine with this many A100s."""
    found = tuple(
        GpuDescription(f"GPU-{name}-{i}", i, "NVIDIA A100", 80 * 1024**3, is_virtual=False)
        for i in range(gpus)
    )
    return NodeDescription(name, found, problem, in_use)


def the_cluster() -> Backend:
    """The factory settings name."""
    return ClusterBackend.latest
