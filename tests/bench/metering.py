"""What metering costs: a tick over everything that runs, and the balance it keeps."""

from __future__ import annotations

from tests.bench.stack import Stack
from tests.bench.table import Figure

OPEN = 100_000
GOAL_RATIO = 3.0
GOAL_TICK_SECONDS = 5.0
GOAL_READ_SECONDS = 0.005


def measure(stack: Stack) -> list[Figure]:
    """A metering tick beside the same rows in bare SQL, and the median balance read."""
    ours, bare, read = stack.seconds_of_metering()
    ratio = ours / bare
    return [
        Figure(
            f"metering tick over {OPEN:,} open intervals",
            f"{ours:.2f} s",
            f"bare SQL {bare:.2f} s",
            f"{ratio:.2f}x",
            f"<= {GOAL_RATIO:.0f}x, < {GOAL_TICK_SECONDS:.0f} s",
            ratio <= GOAL_RATIO and ours < GOAL_TICK_SECONDS,
        ),
        Figure(
            "balance read p50",
            f"{read * 1000:.2f} ms",
            "-",
            "-",
            f"< {GOAL_READ_SECONDS * 1000:.0f} ms",
            read < GOAL_READ_SECONDS,
        ),
    ]
