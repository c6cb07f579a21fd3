"""The sandbox's own clock: real time, plus what a test has moved it forward by.

It is not the portal's clock: Stripe's is not either, and importing it would bring all of the
portal into this small process.
"""

from __future__ import annotations

import time

from billing.sandbox.store import Store

_OFFSET = "clock_offset_s"


class Clock:
    """Unix time in whole seconds. The offset is kept in the store, so a restart keeps it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> int:
        """The present instant as the sandbox sees it, Unix seconds."""
        return int(self.exact())

    def exact(self) -> float:
        """The present instant with fractions, Unix seconds."""
        return time.time() + self._offset()

    def advance(self, seconds: int) -> None:
        """Move forward by `seconds`; time never goes back, so a negative raises ValueError."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._store.set_meta(_OFFSET, str(self._offset() + seconds))

    def _offset(self) -> int:
        return int(self._store.meta(_OFFSET, "0"))
