"""Connections of clients: how many, what they may send, how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp.http_exceptions import LineTooLong
from aiohttp.web import BaseRequest, RequestHandler, Response, Server, StreamResponse

from clusters.proxy.answers import Whole
from clusters.proxy.front import too_many_cookies
from clusters.proxy.pages import HEADERS
from clusters.proxy.upstreams import BUFFER_BYTES

BACKLOG = 4096
# In which an answer that is ready still leaves.
_LAST_SECONDS = 0.5
# In which a client that has just connected asks for the first time.
FIRST_SECONDS = 2.0
IDLE_SECONDS = 75.0
LINE_BYTES = 16 * 1024
FIELD_BYTES = 64 * 1024
# aiohttp writes a traceback for each malformed request: a client may not fill a log.
_quiet = logging.getLogger("clusters.proxy.protocol")
_quiet.setLevel(logging.CRITICAL)
Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
logger = logging.getLogger(__name__)


class Connections(Server):
    """Makes the protocol of each connection; at most `limit` at once, further ones are cut off.

    A request whose client has gone is dropped at once.
    """

    def __init__(self, handle: Handler, *, limit: int) -> None:
        super().__init__(self._handle, handler_cancellation=True)
        self._answer = handle
        self._limit = limit
        self._count = 0
        self._busy: set[RequestHandler] = set()
        self._unasked: set[RequestHandler] = set()
        self._changed = asyncio.Event()

    def __call__(self) -> RequestHandler:
        """A protocol for one connection."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,
            access_log=_quiet,
            logger=_quiet,
            read_bufsize=BUFFER_BYTES,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count it, or cut it off."""
        super().connection_made(handler, transport)
        self._count += 1
        self._unasked.add(handler)
        if self._count > self._limit:
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count it no more."""
        super().connection_lost(handler, exc)
        self._count -= 1
        self._unasked.discard(handler)
        self._changed.set()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, let those that run end within so many seconds, cut off the rest.

        A connection that rests after an answer is closed: its client makes another. One of a moment
        ago gets its first answer, for its client would take the close for a refusal.
        """
        await self._until_empty(self._unasked, min(seconds, FIRST_SECONDS))
        for connection in self.connections:
            connection.close()
            if connection not in self._busy:
                connection.force_close()
        await self._until_empty(self._busy, seconds)
        await self.shutdown(_LAST_SECONDS)

    async def _until_empty(self, connections: set[RequestHandler], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while connections:
                    self._changed.clear()
                    await self._changed.wait()

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        self._busy.add(connection)
        self._unasked.discard(connection)
        self._changed.set()
        try:
            return await self._answer(request)
        finally:
            self._busy.discard(connection)
            self._changed.set()


class _Connection(RequestHandler):
    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """What is answered to a request that cannot be read."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun")
        answer: Response
        if isinstance(exc, LineTooLong) and exc.args[1] == FIELD_BYTES:
            answer = too_many_cookies()
        else:
            answer = Whole(status=status, text=f"{status}\n", headers=HEADERS)
            if status >= 500:
                logger.error("a request failed", exc_info=exc)
        answer.force_close()
        return answer
