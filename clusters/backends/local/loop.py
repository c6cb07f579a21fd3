"""Waiting for many open files at once, as a supervisor does."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """Open files, and what to do when there is something to read."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[], None]] = {}
        self.poller = select.poll()

    def listen(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` can be read, or has come to its end."""
        self.handlers[fd] = handler
        self.poller.register(fd, select.POLLIN)

    def ignore(self, fd: int) -> None:
        """Listen to it no more."""
        if self.handlers.pop(fd, None):
            self.poller.unregister(fd)

    def handle(self, wait_ms: int) -> None:
        """Wait at most so long, and handle what there is."""
        for fd, _ in self.poller.poll(wait_ms):
            # One handler may have ended another's listening.
            if fd in self.handlers:
                self.handlers[fd]()

    def read(self, fd: int, size: int) -> bytes | None:
        """What is in the pipe now; None when nothing is; b"" (and no more polling) at its end."""
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return None
        if not data:
            self.ignore(fd)
        return data
