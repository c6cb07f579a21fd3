"""One beat: every GPU of this machine, real and virtual."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import replace
from pathlib import Path

from fastgpu.agent.nvml import Nvml
from fastgpu.agent.placements import Placement, Placements
from fastgpu.agent.readings import GpuReading
from fastgpu.agent.usage import Usage, UsageMeter

VIRTUAL_PREFIX = "GPU-virtual-"


class Sampler:
    """Measures when asked; rates are since the time before."""

    def __init__(self, folder: Path, *, virtual_gpus: int = 0) -> None:
        self._placements = Placements(folder)
        self._meter = UsageMeter(os.cpu_count() or 1)
        self._nvml = Nvml()
        self._idle_virtual = virtual_uuids(folder, virtual_gpus)

    def sample(self) -> list[GpuReading]:
        """Real GPUs in the driver's order, then virtual ones by UUID."""
        placements = self._placements.read()
        usages = self._meter.measure(
            [placement for placement in placements if _virtual(placement.gpu_uuids)]
        )
        names = _names_by_gpu(placements)
        real = [
            replace(reading, external_names=names.get(reading.uuid, ()))
            for reading in self._nvml.read()
        ]
        alive = [placement for placement in placements if placement.external_name in usages]
        uuids = {uuid for placement in alive for uuid in _virtual(placement.gpu_uuids)}
        if not real:
            uuids.update(self._idle_virtual)
        return real + [_virtual_reading(uuid, alive, usages) for uuid in sorted(uuids)]


def virtual_uuids(folder: Path, count: int) -> list[str]:
    """UUIDs of the local backend's virtual GPUs: from the host and its root, above `folder`."""
    origin = f"{socket.gethostname()}\0{folder.resolve().parent}"
    seed = hashlib.sha256(origin.encode()).hexdigest()[:12]
    return [f"{VIRTUAL_PREFIX}{seed}-{index}" for index in range(count)]


def _virtual(uuids: tuple[str, ...]) -> list[str]:
    return [uuid for uuid in uuids if uuid.startswith(VIRTUAL_PREFIX)]


def _names_by_gpu(placements: list[Placement]) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for placement in placements:
        for uuid in placement.gpu_uuids:
            names[uuid] = (*names.get(uuid, ()), placement.external_name)
    return names


def _virtual_reading(
    uuid: str, placements: list[Placement], usages: dict[str, Usage]
) -> GpuReading:
    """What the attempts on `uuid` use; with none there, nothing is used, and that is measured."""
    here = [placement for placement in placements if uuid in placement.gpu_uuids]
    cpu: float | None = 0.0
    resident: int | None = 0
    for placement in here:
        usage = usages[placement.external_name]
        cpu = None if cpu is None or usage.cpu_percent is None else cpu + usage.cpu_percent
        resident = (
            None
            if resident is None or usage.resident_bytes is None
            else resident + usage.resident_bytes // len(placement.gpu_uuids)
        )
    return GpuReading(
        uuid=uuid,
        external_names=tuple(placement.external_name for placement in here),
        utilization_percent=None if cpu is None else min(100.0, cpu),
        memory_used_bytes=resident,
    )
