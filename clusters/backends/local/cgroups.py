"""Control groups of an attempt, v1 or v2, wherever the portal may write them.

On v1 the devices controller is a second fence around GPUs, beside the mount namespace that
shows the allotted ones only. On v2 that fence is missing: there the kernel takes nothing but an
eBPF program for it, and the mount namespace, the missing CAP_MKNOD and the team's uid stand alone.

On v2 only the root may hold both processes and controllers for its children ("no internal
processes" in the kernel's admin-guide/cgroup-v2). The portal therefore works below the group that
it was started in (systemd: `Delegate=yes`), and moves what runs there into a leaf, `portal`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clusters.backends.base import Limits

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PARENT = "fastgpu"
LEAF = "portal"
PERIOD_MICROSECONDS = 100_000
V1_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "freezer", "devices")
V2_CONTROLLERS = ("memory", "pids", "cpu")
# The nodes bubblewrap's --dev shows: null, zero, full, random, urandom, tty, ptmx, pts.
PLAIN_DEVICES = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2", "c 136:*")
# An attempt must not wait on another's move of processes for longer than a few tries.
MOVE_ROUNDS = 10
Ceilings = dict[str, list[tuple[str, int | str]]]
"""Controller -> control file and value."""


def create(
    name: str,
    limits: Limits,
    devices: Iterable[Path] = (),
    *,
    mount: Path = MOUNT,
    own: Path = OWN,
    controllers: Sequence[str] = V2_CONTROLLERS,
) -> dict[str, str]:
    """Make the cgroups of one attempt, set its ceilings, and on v1 allow `devices` alone.

    Returns controller -> folder ("unified" -> folder for v2); a controller that is missing or
    not ours to write is left out. `enforced` says which ceilings hold; rlimits take the rest.
    """
    if (mount / "memory" / "cgroup.procs").exists():
        return _create_v1(name, limits, devices, mount)
    return _create_v2(name, limits, mount, own, controllers)


def enforced(groups: Mapping[str, str]) -> set[str]:
    """Which of memory, pids and cpu these cgroups put a ceiling on."""
    unified = groups.get("unified")
    if unified is None:
        return set(groups) & set(V2_CONTROLLERS)
    files = {"memory": "memory.max", "pids": "pids.max", "cpu": "cpu.max"}
    return {name for name, file in files.items() if Path(unified, file).exists()}


def changes(
    groups: Mapping[str, str], limits: Limits, devices: Iterable[Path] = ()
) -> list[tuple[str, str]]:
    """What to write where, to give these cgroups other ceilings and on v1 also allow `devices`."""
    if "unified" in groups:
        found = [(groups["unified"], v) for vs in _ceilings_v2(limits).values() for v in vs]
    else:
        allowed = [("devices.allow", f"{device} rw") for device in _numbers(devices)]
        wanted = _ceilings_v1(limits) | {"devices": allowed}
        found = [(groups[c], v) for c, vs in wanted.items() if c in groups for v in vs]
    return [(f"{g}/{n}", str(value)) for g, (n, value) in found if Path(g, n).exists()]


def _ceilings_v1(limits: Limits) -> Ceilings:
    return {
        # Swap is a second door out of the memory limit, where the kernel counts it.
        "memory": [
            ("memory.limit_in_bytes", limits.memory_bytes),
            ("memory.memsw.limit_in_bytes", limits.memory_bytes),
        ],
        "pids": [("pids.max", limits.pids)],
        "cpu": [("cpu.cfs_period_us", PERIOD_MICROSECONDS), ("cpu.cfs_quota_us", _quota(limits))],
    }


def _create_v1(name: str, limits: Limits, devices: Iterable[Path], mount: Path) -> dict[str, str]:
    settings = _ceilings_v1(limits)
    settings["devices"] = [
        ("devices.deny", "a"),
        *(("devices.allow", f"{device} rw") for device in PLAIN_DEVICES),
        *(("devices.allow", f"{device} rw") for device in _numbers(devices)),
    ]
    if not (mount / "memory" / "memory.memsw.limit_in_bytes").exists():
        settings["memory"].pop()
    made: dict[str, str] = {}
    for controller in V1_CONTROLLERS:
        folder = mount / controller / PARENT / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder, settings.get(controller, []))
        except OSError:
            continue
        made[controller] = str(folder)
    return made


def _numbers(devices: Iterable[Path]) -> list[str]:
    """`c major:minor` of each node that is there."""
    found = []
    for device in devices:
        try:
            number = device.stat().st_rdev
        except FileNotFoundError:
            # A node of the driver that this machine does not have (nvidia-uvm-tools).
            continue
        found.append(f"c {os.major(number)}:{os.minor(number)}")
    return found


def _create_v2(
    name: str, limits: Limits, mount: Path, own: Path, controllers: Sequence[str]
) -> dict[str, str]:
    ceilings = _ceilings_v2(limits)
    try:
        base = _own_group(mount, own)
        parent = base / PARENT
        parent.mkdir(exist_ok=True)
        for group in (base, parent):
            _enable(group, controllers)
        folder = parent / name
        folder.mkdir(exist_ok=True)
        for controller in controllers:
            # Swap accounting may be off.
            _write(folder, [c for c in ceilings.get(controller, ()) if (folder / c[0]).exists()])
    except OSError:
        return {}
    return {"unified": str(folder)}


def _ceilings_v2(limits: Limits) -> Ceilings:
    return {
        "memory": [("memory.max", limits.memory_bytes), ("memory.swap.max", 0)],
        "pids": [("pids.max", limits.pids)],
        "cpu": [("cpu.max", f"{_quota(limits)} {PERIOD_MICROSECONDS}")],
    }


def _own_group(mount: Path, own: Path) -> Path:
    """The group this process was started in; itself moved to the leaf, it is the one above."""
    path = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    group = mount / path.lstrip("/")
    return group.parent if group.name == LEAF else group


def _enable(group: Path, controllers: Sequence[str]) -> None:
    """Let children of `group` have the controllers that it has itself."""
    there = (group / "cgroup.controllers").read_text().split()
    already = (group / "cgroup.subtree_control").read_text().split()
    wanted = [f"+{c}" for c in controllers if c in there and c not in already]
    if not wanted:
        return
    change = [("cgroup.subtree_control", " ".join(wanted))]
    for _ in range(MOVE_ROUNDS):
        try:
            _write(group, change)
        except OSError as error:
            # There are processes in it, or came between the move and this.
            if error.errno != errno.EBUSY:
                raise
            _move_to_leaf(group)
        else:
            return
    raise OSError(errno.EBUSY, "processes keep coming", str(group))


def _move_to_leaf(group: Path) -> None:
    leaf = group / LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            _write(leaf, [("cgroup.procs", pid)])
        except ProcessLookupError:
            continue


def _quota(limits: Limits) -> int:
    return max(1000, int(limits.cpu_cores * PERIOD_MICROSECONDS))


def _write(folder: Path, values: Iterable[tuple[str, int | str]]) -> None:
    for name, value in values:
        # Not write_text: it would create a missing control file on a folder that is no cgroup.
        fd = os.open(folder / name, os.O_WRONLY)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
