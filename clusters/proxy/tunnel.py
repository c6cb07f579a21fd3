"""Relays a WebSocket as bytes once both handshakes are done."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import ClientResponse
from aiohttp.web import BaseRequest

# How long the second end of a tunnel is waited for once the first has gone.
LINGER_SECONDS = 5.0


class _Early:
    """Stands in for a frame parser, to be handed what a peer sent right behind its handshake."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep it."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """The end comes to the side that takes over, too."""


class _Side(asyncio.Protocol):
    """One side: what arrives here is written to the other, no faster than that is read."""

    def __init__(self, transport: asyncio.Transport, peer: asyncio.Transport) -> None:
        self._owner = cast("asyncio.Protocol", transport.get_protocol())
        self._transport = transport
        self._peer = peer
        self._error: Exception | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport.set_protocol(self)

    def end(self) -> None:
        """Cut the connection if it still stands; whoever has opened it is told."""
        self._transport.abort()
        self._transport.set_protocol(self._owner)
        if self.closed.done():
            self._owner.connection_lost(self._error)

    def data_received(self, data: bytes) -> None:
        self._peer.write(data)

    def pause_writing(self) -> None:
        if not self._peer.is_closing():
            self._peer.pause_reading()

    def resume_writing(self) -> None:
        if not self._peer.is_closing():
            self._peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        # Closing flushes first: the last frame still arrives.
        self._peer.close()
        self._error = exc
        if not self.closed.done():
            self.closed.set_result(None)


async def relay(request: BaseRequest, answer: ClientResponse) -> None:
    """Join the connections under `request` and `answer`; returns when both are closed.

    Both must have switched protocols. Frames pass unread: fragments, pings, close codes and
    compression are a matter of the two ends alone.
    """
    connection = answer.connection
    if connection is None or connection.protocol is None:
        return
    client, upstream = request.transport, connection.transport
    if client is None or upstream is None:
        return
    from_client, from_upstream = _Early(), _Early()
    request.protocol.set_parser(from_client)  # type: ignore[arg-type]
    connection.protocol.set_parser(from_upstream, None)
    sides = _Side(client, upstream), _Side(upstream, client)
    if from_client.data:
        upstream.write(from_client.data)
    if from_upstream.data:
        client.write(from_upstream.data)
    try:
        ends = [side.closed for side in sides]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ends, timeout=LINGER_SECONDS)
    finally:
        for side in sides:
            side.end()
