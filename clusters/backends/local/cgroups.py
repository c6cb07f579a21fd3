"""Control groups of an attempt, v1 or v2, wherever the portal may write them."""

from __future__ import annotations

import os
from pathlib import Path

from clusters.backends.base import Limits

MOUNT = Path("/sys/fs/cgroup")
PARENT = "fastgpu"
PERIOD_MICROSECONDS = 100_000
V1_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
V2_CONTROLLERS = ("memory", "pids", "cpu")


def create(name: str, limits: Limits, mount: Path = MOUNT) -> dict[str, str]:
    """Make the cgroups of one attempt and set its ceilings.

    Returns controller -> folder ("unified" -> folder for v2); a controller that is missing
    or not ours to write is left out, and the sandbox falls back to rlimits for it.
    """
    if (mount / "memory" / "cgroup.procs").exists():
        return _create_v1(name, limits, mount)
    return _create_v2(name, limits, mount)


def _create_v1(name: str, limits: Limits, mount: Path) -> dict[str, str]:
    settings: dict[str, dict[str, int | str]] = {
        "memory": {"memory.limit_in_bytes": limits.memory_bytes},
        "pids": {"pids.max": limits.pids},
        "cpu": {
            "cpu.cfs_period_us": PERIOD_MICROSECONDS,
            "cpu.cfs_quota_us": _quota(limits),
        },
    }
    # Swap is a second door out of the memory limit, where the kernel counts it.
    swap: dict[str, int | str] = {"memory.memsw.limit_in_bytes": limits.memory_bytes}
    made: dict[str, str] = {}
    for controller in V1_CONTROLLERS:
        folder = mount / controller / PARENT / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder, settings.get(controller, {}))
            if controller == "memory" and (folder / "memory.memsw.limit_in_bytes").exists():
                _write(folder, swap)
        except OSError:
            continue
        made[controller] = str(folder)
    return made


def _create_v2(name: str, limits: Limits, mount: Path) -> dict[str, str]:
    parent = mount / PARENT
    folder = parent / name
    enable = " ".join(f"+{controller}" for controller in V2_CONTROLLERS)
    try:
        (mount / "cgroup.subtree_control").write_text(enable)
        parent.mkdir(exist_ok=True)
        (parent / "cgroup.subtree_control").write_text(enable)
        folder.mkdir(exist_ok=True)
        _write(
            folder,
            {
                "memory.max": limits.memory_bytes,
                "memory.swap.max": 0,
                "pids.max": limits.pids,
                "cpu.max": f"{_quota(limits)} {PERIOD_MICROSECONDS}",
            },
        )
    except OSError:
        return {}
    return {"unified": str(folder)}


def _quota(limits: Limits) -> int:
    return max(1000, int(limits.cpu_cores * PERIOD_MICROSECONDS))


def _write(folder: Path, values: dict[str, int | str]) -> None:
    for name, value in values.items():
        # Not write_text: it would create a missing control file on a folder that is no cgroup.
        fd = os.open(folder / name, os.O_WRONLY)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
