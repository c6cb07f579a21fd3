"""Launches a second with an engine that does nothing, by twenty callers at once.

What JupyterHub does in the same setting (no-op spawner, 20 callers) is 24.9 a second with a p95
of 0.94 s until ready (measured once on a machine of two cores).
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.bench.stack import Stack
from tests.bench.table import Figure, percentile

CALLERS = 20
LAUNCHES = 1000
GOAL_PER_SECOND = 100.0
GOAL_P95_SECONDS = 0.4
SETTLE_SECONDS = 120
BODY = {
    "name": "bench",
    "pool": "noop",
    "gpus": 1,
    "environment": "system",
    "command": "true",
    "time_limit_seconds": 3600,
}


def measure(stack: Stack) -> list[Figure]:
    """Calls answered a second, and jobs running a second."""
    keys = stack.seed("--teams", str(CALLERS))
    before = _running(stack)
    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        turns = iter(range(LAUNCHES))
        lock = threading.Lock()

        def caller(key: str) -> list[float]:
            return _launch_all(stack.port, key, turns, lock)

        times = [took for part in pool.map(caller, keys) for took in part]
    answered = time.monotonic() - began
    running = _seconds_until(stack, before + LAUNCHES, began)
    p95 = percentile(times, 0.95)
    rate = LAUNCHES / answered
    return [
        Figure(
            f"launches, {CALLERS} callers",
            f"{rate:.0f}/s, p95 {p95 * 1000:.0f} ms",
            "JupyterHub 24.9/s, 940 ms",
            f"{rate / 24.9:.1f}x",
            f">= {GOAL_PER_SECOND:.0f}/s, < {GOAL_P95_SECONDS * 1000:.0f} ms",
            rate >= GOAL_PER_SECOND and p95 < GOAL_P95_SECONDS,
        ),
        Figure(
            "launches until running",
            f"{LAUNCHES / running:.0f}/s",
            "JupyterHub 24.9/s",
            f"{LAUNCHES / running / 24.9:.1f}x",
            "-",
            None if running < SETTLE_SECONDS else False,
        ),
    ]


def _launch_all(port: int, key: str, turns: Iterator[int], lock: threading.Lock) -> list[float]:
    """Launch as long as there are turns; seconds of each call.

    On the standard library's client: what measures shares two cores with what is measured.
    """
    took: list[float] = []
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = json.dumps(BODY)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        with lock:
            if next(turns, None) is None:
                connection.close()
                return took
        began = time.monotonic()
        connection.request("POST", "/api/v1/jobs", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        took.append(time.monotonic() - began)
        if answer.status != 201:
            raise RuntimeError(f"a launch was refused: {text[:300]!r}")


def _running(stack: Stack) -> int:
    (count,) = stack.ask("SELECT count(*) FROM clusters_attempt WHERE state = 'running'")[0]
    return int(count)


def _seconds_until(stack: Stack, count: int, began: float) -> float:
    while _running(stack) < count:
        if time.monotonic() - began > SETTLE_SECONDS:
            raise RuntimeError(f"only {_running(stack)} of {count} jobs run")
        time.sleep(0.05)
    return time.monotonic() - began
