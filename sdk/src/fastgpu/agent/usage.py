"""What an attempt uses of this machine: CPU time and resident memory.

From its cgroups where it has them, else from the processes below its supervisor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from fastgpu.agent.placements import Placement

# The time a process was made is derived from the boot time, which shifts as the clock is set.
CREATE_TIME_SLACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Shares of the machine. None: not known."""

    cpu_percent: float | None
    resident_bytes: int | None


class UsageMeter:
    """Turns CPU seconds into a rate, from one call to the next."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._before: dict[str, tuple[float, float]] = {}

    def measure(self, placements: list[Placement]) -> dict[str, Usage]:
        """Usage by external name. An attempt of which nothing is alive any more is left out."""
        found: dict[str, Usage] = {}
        seen: dict[str, tuple[float, float]] = {}
        for placement in placements:
            tree = _Tree(placement)
            cpu = _cgroup_cpu_seconds(placement.cgroups)
            resident = _cgroup_resident_bytes(placement.cgroups)
            if tree.is_gone and cpu is None and resident is None:
                continue
            cpu = tree.cpu_seconds() if cpu is None else cpu
            resident = tree.resident_bytes() if resident is None else resident
            name, now = placement.external_name, time.monotonic()
            found[name] = Usage(self._rate(name, now, cpu), resident)
            if cpu is not None:
                seen[name] = (now, cpu)
        self._before = seen
        return found

    def _rate(self, name: str, now: float, cpu: float | None) -> float | None:
        """Percent of all cores since the last call; None the first time."""
        if cpu is None or name not in self._before:
            return None
        then, before = self._before[name]
        if now <= then:
            return None
        percent = 100.0 * (cpu - before) / (now - then) / self._cores
        return round(min(100.0, max(0.0, percent)), 2)


class _Tree:
    """The processes below a supervisor, without it. Looked up once, when first needed."""

    def __init__(self, placement: Placement) -> None:
        self._supervisor = _process(placement)
        self._members: list[psutil.Process] | None = None

    @property
    def is_gone(self) -> bool:
        return self._supervisor is None

    def cpu_seconds(self) -> float | None:
        """CPU time of the living and of the children they have seen die; None: not known."""
        if self._supervisor is None:
            return None
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def resident_bytes(self) -> int | None:
        """Resident memory of the living; None: not known."""
        if self._supervisor is None:
            return None
        total = 0
        for process in self._processes():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total

    def _processes(self) -> list[psutil.Process]:
        if self._members is None:
            try:
                self._members = (
                    self._supervisor.children(recursive=True) if self._supervisor else []
                )
            except psutil.Error:
                self._members = []
        return self._members


def _process(placement: Placement) -> psutil.Process | None:
    """The supervisor; None when it is gone or its pid is another process by now."""
    try:
        process = psutil.Process(placement.supervisor_pid)
        age = abs(process.create_time() - placement.supervisor_create_time)
    except psutil.Error:
        return None
    return process if age <= CREATE_TIME_SLACK_SECONDS else None


def _cgroup_cpu_seconds(cgroups: dict[str, str]) -> float | None:
    if "cpuacct" in cgroups:
        text = _text(cgroups["cpuacct"], "cpuacct.usage")
        return None if text is None else int(text) / 1e9
    if "unified" in cgroups:
        counters = _counters(cgroups["unified"], "cpu.stat")
        return counters["usage_usec"] / 1e6 if "usage_usec" in counters else None
    return None


def _cgroup_resident_bytes(cgroups: dict[str, str]) -> int | None:
    """Anonymous and shared memory; the page cache is the kernel's to take back, so not counted."""
    if "memory" in cgroups:
        counters = _counters(cgroups["memory"], "memory.stat")
        own, shared = "total_rss", "total_shmem"
    elif "unified" in cgroups:
        counters = _counters(cgroups["unified"], "memory.stat")
        own, shared = "anon", "shmem"
    else:
        return None
    return counters[own] + counters.get(shared, 0) if own in counters else None


def _counters(folder: str, name: str) -> dict[str, int]:
    lines = (_text(folder, name) or "").splitlines()
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines)}


def _text(folder: str, name: str) -> str | None:
    try:
        return Path(folder, name).read_text(encoding="ascii")
    except OSError:
        # Removed with the attempt, or a controller that is not there: unknown.
        return None
