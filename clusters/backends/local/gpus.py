"""GPUs of this machine: those NVML reports, or virtual ones that stand for a share of CPU."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

import pynvml

from clusters.backends.base import GpuDescription

VIRTUAL_MODEL = "NVIDIA A100-SXM4-40GB (virtual)"
VIRTUAL_MEMORY_BYTES = 40 * 1024**3
SHARED_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU with the device node that gives access to it; None for a virtual one."""

    description: GpuDescription
    device: Path | None


def discover(root: Path, virtual_gpus: int) -> list[Gpu]:
    """All GPUs in NVML's order; without a driver `virtual_gpus` stable virtual ones."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return virtual(root, virtual_gpus)
    try:
        return [_real(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def virtual(root: Path, count: int) -> list[Gpu]:
    """`count` virtual GPUs whose UUIDs depend on host and root only, so they outlive restarts."""
    seed = hashlib.sha256(f"{socket.gethostname()}\0{root.resolve()}".encode()).hexdigest()[:12]
    return [
        Gpu(
            GpuDescription(
                uuid=f"GPU-virtual-{seed}-{index}",
                index=index,
                model=VIRTUAL_MODEL,
                memory_bytes=VIRTUAL_MEMORY_BYTES,
                is_virtual=True,
            ),
            device=None,
        )
        for index in range(count)
    ]


def _real(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    minor = pynvml.nvmlDeviceGetMinorNumber(handle)
    return Gpu(
        GpuDescription(
            uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
            index=index,
            model=_text(pynvml.nvmlDeviceGetName(handle)),
            memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            is_virtual=False,
        ),
        device=Path(f"/dev/nvidia{minor}"),
    )


def _text(value: str | bytes) -> str:
    """NVML's bindings answer bytes before version 12, str since."""
    return value.decode() if isinstance(value, bytes) else value
