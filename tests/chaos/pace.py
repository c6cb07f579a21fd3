"""How long this machine takes to start programs while a storm keeps it busy."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import TracebackType

GAP_SECONDS = 0.5
# What comes between an attempt's own note of its start and its command's first line is of this
# kind: a shell, and two bare Pythons one after the other.
PYTHON = f"{sys.executable} -I -S -c pass"
PROGRAM = ("/bin/bash", "-c", f"{PYTHON}; {PYTHON}; /bin/true")


class Pace:
    """Starts such programs all the time, and remembers how long each took."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="pace")
        self._taken: list[tuple[float, float]] = []

    def __enter__(self) -> Pace:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def slowest(self, since: float, until: float) -> float:
        """Seconds that the slowest start took of those under way between two epoch seconds."""
        return max(
            (end - start for start, end in self._taken if start <= until and end >= since),
            default=0.0,
        )

    def _measure(self) -> None:
        while not self._is_over.wait(GAP_SECONDS):
            start = time.time()
            subprocess.run(PROGRAM, check=True)
            self._taken.append((start, time.time()))
