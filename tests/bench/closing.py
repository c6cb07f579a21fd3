"""What invoices cost: closing a month of many teams, a PDF, a CSV of many lines."""

from __future__ import annotations

from tests.bench.stack import Stack
from tests.bench.table import Figure

TEAMS = 10_000
ROWS = 1_000_000
CSV_LINES = 100_000
PDF_LINES = 50
GOAL_CLOSE_SECONDS = 60.0
GOAL_PDF_SECONDS = 0.5
GOAL_CSV_MIB = 150


def measure(stack: Stack) -> list[Figure]:
    """The month close beside the same rows in bare SQL, the median PDF, the peak of the CSV."""
    ours, bare, pdf = stack.seconds_of_closing()
    mib, lines = stack.memory_of_csv()
    return [
        Figure(
            f"month close of {TEAMS:,} teams with {ROWS:,} usage rows",
            f"{ours:.1f} s",
            f"bare SQL {bare:.1f} s",
            f"{ours / bare:.2f}x",
            f"< {GOAL_CLOSE_SECONDS:.0f} s",
            ours < GOAL_CLOSE_SECONDS,
        ),
        Figure(
            f"PDF of {PDF_LINES} lines, p50",
            f"{pdf:.2f} s",
            "-",
            "-",
            f"< {GOAL_PDF_SECONDS} s",
            pdf < GOAL_PDF_SECONDS,
        ),
        Figure(
            f"CSV of {lines:,} lines, peak memory of the process",
            f"{mib:.0f} MiB",
            "-",
            "-",
            f"< {GOAL_CSV_MIB} MB",
            lines >= CSV_LINES and mib * 1.048576 < GOAL_CSV_MIB,
        ),
    ]
