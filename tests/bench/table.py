"""Figures and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADERS = ("what", "ours", "baseline", "difference", "goal", "verdict")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `is_met` None: there is no goal, or it could not be measured."""

    name: str
    ours: str
    baseline: str
    difference: str
    goal: str
    is_met: bool | None

    def cells(self) -> tuple[str, ...]:
        """The line as text."""
        verdict = {True: "met", False: "MISSED", None: "-"}[self.is_met]
        return self.name, self.ours, self.baseline, self.difference, self.goal, verdict


def render(figures: Sequence[Figure]) -> str:
    """The table, columns aligned."""
    rows = [HEADERS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]
