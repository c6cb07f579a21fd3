"""The control loop with thousands of attempts that run."""

from __future__ import annotations

import os
import signal
import time

from tests.bench.stack import Stack
from tests.bench.table import Figure

RUNNING = 2_500
GOAL_ADOPTED_SECONDS = 3.0
LIVE = 10_000
GOAL_TICK_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
TICKS = 5


def restart(stack: Stack) -> Figure:
    """`kill -9` of the worker until its successor has seen every attempt again."""
    _fill(stack, RUNNING)
    _wait_for_survey(stack)
    ran = _seen_running(stack)
    os.kill(stack.pid_of("worker"), signal.SIGKILL)
    (killed_at,) = stack.ask("SELECT clock_timestamp()")[0]
    began = time.monotonic()
    _wait_for_survey(stack, after=f"'{killed_at.isoformat()}'")
    took = time.monotonic() - began
    return Figure(
        f"restart with {RUNNING:,} running",
        f"{took:.2f} s",
        "JupyterHub 14.4 s",
        f"{14.4 / took:.1f}x faster",
        f"< {GOAL_ADOPTED_SECONDS:.0f} s",
        took < GOAL_ADOPTED_SECONDS and _seen_running(stack) == ran >= RUNNING,
    )


def tick(stack: Stack) -> Figure:
    """A whole look at one engine and a drive of its pool, the slowest of a few."""
    _fill(stack, LIVE)
    _wait_for_survey(stack)
    worst = max(stack.seconds_of_tick("noop") for _ in range(TICKS))
    return Figure(
        f"one tick over {LIVE:,} live attempts",
        f"{worst:.2f} s",
        "dstack: 1,000 a replica",
        "-",
        f"< {GOAL_TICK_SECONDS:.0f} s",
        worst < GOAL_TICK_SECONDS,
    )


def _fill(stack: Stack, count: int) -> None:
    """Top up what runs on the engine that does nothing."""
    stack.seed("--teams", "1")
    (running,) = stack.ask("SELECT count(*) FROM clusters_attempt WHERE state = 'running'")[0]
    if running < count:
        stack.seed("--running", str(count - running))


def _seen_running(stack: Stack) -> int:
    """How many run and were in the engine's last answer."""
    (count,) = stack.ask(
        "SELECT count(*) FROM clusters_attempt WHERE state = 'running' AND missing_since IS NULL"
    )[0]
    return int(count)


def _wait_for_survey(stack: Stack, after: str = "clock_timestamp()") -> None:
    (since,) = stack.ask(f"SELECT {after}::timestamptz")[0]  # ours
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        rows = stack.ask("SELECT surveyed_at FROM clusters_engine WHERE name = 'noop'")
        if rows and rows[0][0] is not None and rows[0][0] > since:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the engine was not looked at")
        time.sleep(0.02)
