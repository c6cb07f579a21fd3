"""Follows growing logs: one reader per attempt and process, however many people watch.

A viewer asks for the bytes at its own offset and waits for more, so who is slow holds up nobody
and nothing piles up for them: what has left the shared window is read again from the log itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from clusters.backends.base import Backend, BackendUnavailable, LogChunk

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.075
RETRY_SECONDS = 1.0
PIECE_BYTES = 64 * 1024
WINDOW_BYTES = 4 * PIECE_BYTES


class Follower:
    """The end of one attempt's log, in memory: bytes `[start, end)`."""

    def __init__(self, engine: Backend, external_name: str) -> None:
        self._engine = engine
        self._name = external_name
        self._window = bytearray()
        self._end = 0
        self._is_complete = False
        self._grown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.viewers = 0

    async def next(self, offset: int) -> LogChunk:
        """At most PIECE_BYTES from byte `offset`, as soon as there are any.

        Empty only when the log is complete. `offset` lies within the log. Raises
        BackendUnavailable when the engine does not answer.
        """
        while True:
            grown = self._grown
            self._raise_if_broken()
            if self._end - len(self._window) <= offset < self._end:
                return self._from_window(offset)
            if offset != self._end or self._task is None:
                chunk = await asyncio.to_thread(self._read, offset)
                if chunk.data or chunk.complete:
                    return chunk
                if grown is not self._grown:
                    continue
                self._watch_from(offset)
            elif self._is_complete:
                return LogChunk(b"", offset, offset, complete=True)
            await self._grown.wait()

    async def stop(self) -> None:
        """End the reader."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _from_window(self, offset: int) -> LogChunk:
        start = offset - (self._end - len(self._window))
        data = bytes(self._window[start : start + PIECE_BYTES])
        reached = offset + len(data)
        return LogChunk(data, offset, reached, self._is_complete and reached == self._end)

    def _watch_from(self, offset: int) -> None:
        """The first viewer at the end of the log starts the reader there; it never goes back."""
        if offset > self._end or self._task is None:
            self._window.clear()
            self._end = offset
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name=f"log of {self._name}")

    def _raise_if_broken(self) -> None:
        if self._task is not None and self._task.done() and not self._is_complete:
            self._task.result()

    async def _watch(self) -> None:
        try:
            await self._read_on()
        finally:
            self._tell()

    async def _read_on(self) -> None:
        while not self._is_complete:
            at = self._end
            try:
                chunk = await asyncio.to_thread(self._read, at)
            except BackendUnavailable as error:
                logger.warning("the log of %s cannot be read now: %s", self._name, error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if at != self._end:
                continue  # a viewer has found the end further on meanwhile
            self._window += chunk.data
            del self._window[: max(0, len(self._window) - WINDOW_BYTES)]
            self._end = chunk.next_offset
            self._is_complete = chunk.complete
            if chunk.data or chunk.complete:
                self._tell()
            if len(chunk.data) < PIECE_BYTES:
                await asyncio.sleep(POLL_SECONDS)

    def _tell(self) -> None:
        """Wake every viewer that waits; those who come after wait for the next event."""
        self._grown.set()
        self._grown = asyncio.Event()

    def _read(self, offset: int) -> LogChunk:
        return self._engine.read_log(self._name, offset=offset, limit=PIECE_BYTES)


_followers: dict[tuple[int, str], Follower] = {}


@asynccontextmanager
async def following(engine: Backend, external_name: str) -> AsyncIterator[Follower]:
    """The follower of this attempt, shared by who watches it in this process."""
    key = (id(asyncio.get_running_loop()), external_name)
    follower = _followers.get(key)
    if follower is None:
        follower = _followers[key] = Follower(engine, external_name)
    follower.viewers += 1
    try:
        yield follower
    finally:
        follower.viewers -= 1
        if follower.viewers == 0:
            del _followers[key]
            await follower.stop()
