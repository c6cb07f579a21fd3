"""`python -m tests.bench [name ...]`: measure, side by side, in one run.

Starts a FastGPU of its own in a temporary folder. Figures of a busy machine are worth little.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import httpx
from websockets.exceptions import WebSocketException

from tests.bench import (
    at_rest,
    at_scale,
    closing,
    job_launch,
    launches,
    log_latency,
    metering,
    notebooks,
    observing,
    proxy,
    rights,
    slurm,
    webhooks,
    zero,
)
from tests.bench.stack import Stack
from tests.bench.table import Figure, render
from tests.slurm.lab import missing as slurm_missing

SLURM = ("slurm_launch", "slurm_burst")
# What needs no FastGPU around it.
ALONE = ("observe", "rights", "proxy")
NAMES = (
    "up_second_start", "memory_at_rest", "job_launch", "notebooks", "log_latency", "launches",
    "restart", "tick", "metering", "closing", "webhooks", "zero",
    *ALONE, *SLURM,
)  # fmt: skip
Measure = Callable[[], list[Figure]]


def main() -> int:
    """Print the table; 1 when something could not be measured. Goals missed are no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=20, help="launches measured each way")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}: one of {', '.join(NAMES)}")
    try:
        figures, notes = run(set(options.names or NAMES), options.rounds)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(render(figures))
    for note in notes:
        print(note)
    return 1 if any(figure.is_met is None for figure in figures) else 0


def run(names: set[str], rounds: int) -> tuple[list[Figure], list[str]]:
    """The figures asked for, in the order in which they disturb each other least."""
    figures: list[Figure] = []
    notes: list[str] = []
    if names - {*SLURM, *ALONE}:
        with Stack() as stack:
            if "up_second_start" in names:
                figures.append(at_rest.second_start(stack))
            else:
                stack.start()
            if "memory_at_rest" in names:
                figure, shares = at_rest.memory(stack)
                figures.append(figure)
                notes.append(shares)
            measures: dict[str, Measure] = {
                "job_launch": lambda: [job_launch.measure(stack, rounds)],
                "notebooks": lambda: notebooks.measure(stack, rounds),
                "log_latency": lambda: [log_latency.measure(stack)],
                "launches": lambda: launches.measure(stack),
                "restart": lambda: [at_scale.restart(stack)],
                "tick": lambda: [at_scale.tick(stack)],
                "webhooks": lambda: webhooks.measure(stack),
                "zero": lambda: zero.measure(stack),
                "metering": lambda: metering.measure(stack),
                "closing": lambda: closing.measure(stack),
            }
            _measure(measures, names, figures, notes)
    alone: dict[str, Measure] = {
        "observe": observing.measure,
        "rights": rights.measure,
        "proxy": proxy.measure,
    }
    _measure(alone, names, figures, notes)
    if names & set(SLURM):
        _on_slurm(names, rounds, figures, notes)
    return figures, notes


def _on_slurm(names: set[str], rounds: int, figures: list[Figure], notes: list[str]) -> None:
    missing = slurm_missing()
    if missing:
        notes.append(f"Slurm was left out: {missing}")
        figures.extend(Figure(name, "not measured", "-", "-", "-", None) for name in SLURM)
        return
    with slurm.lab() as lab, Stack(lab.env) as stack:
        stack.start()
        stack.manage("add_pool", *slurm.POOL)
        measures: dict[str, Measure] = {
            "slurm_launch": lambda: [slurm.measure_launch(stack, lab, 3 * rounds)],
            "slurm_burst": lambda: [slurm.measure_burst(stack, lab)],
        }
        _measure(measures, names, figures, notes)


def _measure(
    measures: dict[str, Measure], names: set[str], figures: list[Figure], notes: list[str]
) -> None:
    for name in [name for name in measures if name in names]:
        try:
            figures += measures[name]()
        except (RuntimeError, httpx.HTTPError, WebSocketException, OSError) as error:
            figures.append(Figure(name, "not measured", "-", "-", "-", None))
            notes.append(f"{name}: {error!r}")


if __name__ == "__main__":
    sys.exit(main())
