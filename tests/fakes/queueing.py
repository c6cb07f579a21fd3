"""An engine in memory that keeps its own queue, as Slurm does: two nodes of four GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clusters.backends.base import (
    GpuDescription,
    LaunchSpec,
    NodeDescription,
    Observation,
    Phase,
    Wait,
    WaitCause,
)
from clusters.backends.capabilities import MultiNode
from portal.lib import clock
from tests.fakes.backend import FakeBackend

WAIT = Wait(WaitCause.TURN, "Nine jobs are ahead of it.", "A shorter time limit starts sooner.")


class QueueingBackend(FakeBackend, MultiNode):
    """Attempts wait for their turn until the test lets them `begin`."""

    queues = True

    def submit(self, spec: LaunchSpec) -> Observation:
        self._answer()
        self.submits.append(spec.external_name)
        self.specs[spec.external_name] = spec
        waiting = Observation(spec.external_name, Phase.PENDING, engine_id="4711", wait=WAIT)
        return self.seen.setdefault(spec.external_name, waiting)

    def begin(self, external_name: str, *, node: str = "gpu-1") -> None:
        """Let an attempt leave the queue."""
        self.seen[external_name] = replace(
            self.seen[external_name],
            phase=Phase.RUNNING,
            started_at=clock.now(),
            node=node,
            wait=None,
        )

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        self._answer()
        return [
            NodeDescription(
                node,
                tuple(
                    GpuDescription(f"GPU-{node}-{i}", i, "NVIDIA A100", 40 * 1024**3, False)
                    for i in range(4)
                ),
                gpus_in_use=0,
            )
            for node in ("gpu-1", "gpu-2")
        ]
