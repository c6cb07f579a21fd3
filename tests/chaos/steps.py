"""Counts the steps of a process between intent and acknowledgement, and kills it at one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# A statement inside a transaction: wherever in it the process dies, all of it is undone.
INSIDE = "in a transaction, "


class Steps:
    """Steps passed so far; at number `die_at`, from 1, the process kills itself.

    `trace` is given every step's name, one a line, at the end or just before death.
    """

    def __init__(self, *, die_at: int | None, trace: Path) -> None:
        self._die_at = die_at
        self._trace = trace
        self._passed: list[str] = []

    def reach(self, name: str) -> None:
        """A step was reached."""
        self._passed.append(name)
        if len(self._passed) == self._die_at:
            self.write()
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self) -> None:
        """Leave the trace."""
        self._trace.write_text("\n".join(self._passed))


_armed: list[Steps] = []


def arm(steps: Steps) -> None:
    """Count from here on, in this process."""
    _armed[:] = [steps]


def reach(name: str) -> None:
    """A step was reached; nothing happens in a process that does not count them."""
    for steps in _armed:
        steps.reach(name)
