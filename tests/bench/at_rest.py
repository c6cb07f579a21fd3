"""How fast the stack comes back and what it holds while nothing runs."""

from __future__ import annotations

import time

import psutil

from tests.bench.stack import Stack
from tests.bench.table import Figure

START_GOAL_SECONDS = 6.0
MEMORY_GOAL_MB = 700
REST_SECONDS = 10.0


def second_start(stack: Stack) -> Figure:
    """Start, stop, and start again on the same data; leaves it running."""
    stack.start()
    stack.stop()
    seconds = stack.start()
    return Figure(
        "up_second_start",
        f"{seconds:.1f} s",
        "-",
        "-",
        f"< {START_GOAL_SECONDS:.0f} s",
        seconds < START_GOAL_SECONDS,
    )


def memory(stack: Stack) -> tuple[Figure, str]:
    """Proportional memory of all processes after a rest, and who holds it."""
    time.sleep(REST_SECONDS)
    held: dict[str, int] = {}
    for process in stack.processes():
        try:
            name, pss = _name(process), process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        held[name] = held.get(name, 0) + pss
    total = sum(held.values()) / 1e6
    ordered = sorted(held.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in ordered)
    figure = Figure(
        "memory_at_rest (PSS)",
        f"{total:.0f} MB",
        "-",
        "-",
        f"< {MEMORY_GOAL_MB} MB",
        total < MEMORY_GOAL_MB,
    )
    return figure, f"memory_at_rest, MB: {shares}"


def _name(process: psutil.Process) -> str:
    """What the process is, in one word where its command line tells."""
    line = " ".join(process.cmdline())
    for mark in ("portal.asgi", "clusters.proxy", " worker", " beat", "fastgpu.agent"):
        if mark in line:
            return mark.strip()
    for mark in ("billing.sandbox", "portal.stack", "manage.py", "postgres", "valkey"):
        if mark in line:
            return mark
    return process.name()
