"""How soon the proxy closes a socket whose right was lost: told of it, and found by looking."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from tests.bench import traffic
from tests.bench.proxies import Ours, ours, served
from tests.bench.table import Figure

ROUNDS = 30
GOAL_SECONDS = 2.0


def measure() -> list[Figure]:
    """Ending a session tells the proxy; a person who leaves a team is found when it looks."""
    with tempfile.TemporaryDirectory(prefix="fgb-") as name:
        folder = Path(name)
        with served(folder) as port, ours(folder, port) as proxy:
            told = [_seconds(proxy, is_told=True) for _ in range(ROUNDS)]
            found = [_seconds(proxy, is_told=False) for _ in range(ROUNDS)]
    return [
        _figure("a right lost to its socket closed, told", told),
        _figure("a right lost to its socket closed, found", found),
    ]


def _seconds(proxy: Ours, *, is_told: bool) -> float:
    target = proxy.let_in()
    with traffic.open_sockets(target, 1) as (client,):
        began = time.perf_counter()
        proxy.shut_out(target)
        if is_told:
            proxy.tell()
        traffic.until_closed(client)
        return time.perf_counter() - began


def _figure(name: str, seconds: list[float]) -> Figure:
    most = max(seconds)
    words = f"p50 {median(seconds):.3f} s, at most {most:.3f} s"
    return Figure(name, words, "-", "-", f"< {GOAL_SECONDS:.0f} s", most < GOAL_SECONDS)
