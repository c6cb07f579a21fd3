"""Takes bodies of any size as they come: nothing of them is kept but a piece of a megabyte.

Middleware and view run first, on the head of the request alone, so that who may not send, or sends
too much, is told before anything is taken. Waiting for the network holds no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.db import close_old_connections
from django.http import HttpResponse
from django.urls import Resolver404, resolve

from portal.lib.streamed import PIECE_BYTES, BodyWanted, Sink, refused, settle, settled

THREADS = 4

Receive = Callable[[], Awaitable[Any]]
T = TypeVar("T")


class CutOff(Exception):
    """The sender went away."""


def is_streamed(scope: dict[str, Any]) -> bool:
    """Whether the body of this request is for a view that streams."""
    if scope["method"] != "PUT":
        return False
    try:
        view: Any = resolve(scope["path"]).func
    except (Resolver404, ValueError):
        return False
    return getattr(getattr(view, "view_class", view), "streams_body", False)


class Transfers:
    """The bodies that are on their way into this process.

    A sender that says nothing for `silence_seconds` is gone; of more than `most_at_once` the next
    is refused.
    """

    def __init__(self, *, silence_seconds: float = 60.0, most_at_once: int = 200) -> None:
        self._silence_seconds, self._most_at_once = silence_seconds, most_at_once
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
        self._count = 0

    async def take(self, wanted: BodyWanted, receive: Receive) -> HttpResponse | None:
        """The answer to the body that follows, with the headers of `wanted`; None if cut off."""
        if self._count >= self._most_at_once:
            await self._run(wanted.sink.abandon)
            return refused(429, "too_many", "Too many uploads are on their way. Try again shortly.")
        self._count += 1
        try:
            answer = await self._taken(wanted.sink, receive)
        except CutOff:
            await self._run(wanted.sink.abandon)
            return None
        except asyncio.CancelledError:
            self._threads.submit(_tidily, wanted.sink.abandon)  # the server shuts down
            raise
        finally:
            self._count -= 1
        answer["Content-Length"] = str(len(answer.content))
        for name, value in wanted.items():
            answer.headers.setdefault(name, value)
        answer.cookies = wanted.cookies
        return answer

    async def _taken(self, sink: Sink, receive: Receive) -> HttpResponse:
        is_last = False
        while not is_last:
            try:
                piece, is_last = await self._next_piece(receive)
            except TimeoutError:
                await self._run(sink.abandon)
                return refused(408, "timeout", "Nothing came for too long. Send it again.")
            refusal = await self._run(settle, sink, lambda data=piece: sink.write(data))
            if refusal is not None:
                return refusal
        return await self._run(settled, sink)

    async def _next_piece(self, receive: Receive) -> tuple[bytes, bool]:
        """About a megabyte of what comes, and whether it is the last.

        Raises CutOff, TimeoutError.
        """
        piece = bytearray()
        while len(piece) < PIECE_BYTES:
            message = await asyncio.wait_for(receive(), self._silence_seconds)
            if message["type"] == "http.disconnect":
                raise CutOff
            piece += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(piece), True
        return bytes(piece), False

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(_tidily, work, *arguments))


def _tidily(work: Callable[..., T], *arguments: Any) -> T:
    try:
        return work(*arguments)
    finally:
        close_old_connections()
