"""The notebook proxy against configurable-http-proxy and nginx, in turns on one machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from clusters.proxy.settings import raise_file_limit
from tests.bench import traffic
from tests.bench.proxies import CHP, NGINX, OURS, Running, all_running
from tests.bench.table import Figure, percentile

SIZE_BYTES = 1 << 30
SECONDS = 1.5
ROUNDS = 5
CONNECTIONS = 64
SOCKETS = (1, 100, 1000)
IDLE = 1000
GOAL_RATIO = 1.0
# One round's figures of one proxy, by name.
Sample = dict[str, float]


def measure() -> list[Figure]:
    """The best of some rounds, in which the proxies take turns: what disturbs only ever slows."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="fgb-") as folder, all_running(Path(folder)) as found:
        # First, for what was held once is taken again and not counted.
        held = {name: _memory(proxy) for name, proxy in found.items()}
        samples: dict[str, list[Sample]] = {name: [] for name in found}
        for number in range(ROUNDS):
            names = list(found)
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                samples[name].append(_round(found[name]))
    best = {name: _best(rounds) | {"memory": held[name]} for name, rounds in samples.items()}
    return [_figure(best, *line) for line in _LINES]


def _best(rounds: list[Sample]) -> Sample:
    is_less_better = {what: less for what, _, less, _ in _LINES}
    return {
        what: (min if is_less_better[what] else max)(each[what] for each in rounds)
        for what in rounds[0]
    }


def _round(proxy: Running) -> Sample:
    target = proxy.target
    traffic.requests(target, CONNECTIONS, SECONDS / 3)
    before = proxy.cpu_seconds()
    took = traffic.requests(target, CONNECTIONS, SECONDS)
    used = (proxy.cpu_seconds() - before) * (1 - traffic.WARM_SHARE)
    before = proxy.cpu_seconds()
    sample = {
        "cpu_requests": used / len(took),
        "download": traffic.download(target, SIZE_BYTES),
        "cpu_download": proxy.cpu_seconds() - before,
        "upload": traffic.upload(target, SIZE_BYTES),
        "requests": len(took) / (SECONDS * (1 - traffic.WARM_SHARE)),
    }
    for count in SOCKETS:
        before = proxy.cpu_seconds()
        trips = traffic.round_trips(target, count, SECONDS)
        used = (proxy.cpu_seconds() - before) * (1 - traffic.WARM_SHARE)
        sample[f"cpu_{count}"] = used / len(trips)
        sample[f"p50_{count}"] = percentile(trips, 0.5)
        sample[f"p99_{count}"] = percentile(trips, 0.99)
    return sample


def _memory(proxy: Running) -> float:
    """Bytes for each thousand idle WebSockets."""
    before = proxy.memory_bytes()
    with traffic.open_sockets(proxy.target, IDLE):
        return (proxy.memory_bytes() - before) * 1000 / IDLE


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB/s"


def _milliseconds(value: float) -> str:
    return f"{value * 1e3:.2f} ms"


def _microseconds(value: float) -> str:
    return f"{value * 1e6:.0f} us"


Show = Callable[[float], str]
# What a figure is called, whether less of it is better, how it is shown.
_LINES: list[tuple[str, str, bool, Show]] = [
    ("download", "proxy: download of 1 GiB", False, _megabytes),
    ("upload", "proxy: upload of 1 GiB", False, _megabytes),
    ("requests", "proxy: small requests", False, lambda value: f"{value:.0f}/s"),
    *(
        (f"p{share}_{count}", f"proxy: WebSocket p{share}, {count} open", True, _milliseconds)
        for count in SOCKETS
        for share in (50, 99)
    ),
    # What a busy machine disturbs least.
    ("cpu_download", "proxy: CPU of a download of 1 GiB", True, lambda used: f"{used:.2f} s"),
    ("cpu_requests", "proxy: CPU a small request", True, _microseconds),
    *(
        (f"cpu_{count}", f"proxy: CPU a round trip, {count} open", True, _microseconds)
        for count in SOCKETS
    ),
    (
        "memory",
        f"proxy: memory of {IDLE} idle sockets",
        True,
        lambda value: f"{value / 1e6:.1f} MB",
    ),
]


def _figure(
    best: dict[str, Sample], what: str, name: str, is_less_better: bool, show: Show
) -> Figure:
    ours = best[OURS][what]
    others = [f"{each} {show(best[each][what])}" for each in (CHP, NGINX) if each in best]
    ratio: float | None = None
    if CHP in best and best[CHP][what] > 0 and ours > 0:
        theirs = best[CHP][what]
        ratio = theirs / ours if is_less_better else ours / theirs
    return Figure(
        name,
        show(ours),
        ", ".join(others) or "neither chp nor nginx is here",
        f"{ratio:.2f}x chp" if ratio else "-",
        f">= {GOAL_RATIO:.0f}x chp",
        ratio >= GOAL_RATIO if ratio else None,
    )
