"""A browser's and a socket's way through the proxy to servers in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets
from aiohttp import ClientError, ClientSession, ClientTimeout
from websockets.asyncio.client import ClientConnection

from clusters.backends.base import Endpoint
from tests.clusters.proxy.process import Proxy
from tests.clusters.proxy.servers import TOKEN, Seen, Sent

HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass(frozen=True)
class Place:
    """One app of a module, and a session at it."""

    name: str
    socket: Path
    secret: str


def endpoint_at(socket: Path) -> Endpoint:
    """Where a server of this process's user listens."""
    return Endpoint(socket=str(socket), owner_uid=os.geteuid(), token=TOKEN)


@dataclass
class Lab:
    """Ways to ask the proxy. `client` is signed in at `good`; `sent` counts what `bad` sends."""

    proxy: Proxy
    good: Place
    bad: Place
    gone: Place
    client: ClientSession
    seen: Seen
    sent: Sent

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return self.proxy.url

    def headers(self, place: Place) -> dict[str, str]:
        """A signed-in browser's page asks its own app."""
        cookie = f"fastgpu={place.secret}; mine=1"
        origin = self.proxy.origin(place.name)
        return {"Host": self.proxy.host(place.name), "Cookie": cookie, "Origin": origin}

    def head(self, place: Place) -> str:
        """The same in bytes, with nothing else."""
        cookie = f"fastgpu={place.secret}; mine=1"
        origin = self.proxy.origin(place.name)
        return f"Host: {self.proxy.host(place.name)}\r\nCookie: {cookie}\r\nOrigin: {origin}\r\n"

    async def raw(
        self, data: str | bytes, *, ends: bytes | None = None, seconds: float = 20.0
    ) -> bytes:
        """What comes back for these bytes until the connection ends, or what came with `ends`.

        Or so long has passed: for what may hang.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write(data.encode() if isinstance(data, str) else data)
        out = b""
        try:
            async with asyncio.timeout(seconds):
                while piece := await reader.read(65536):
                    out += piece
                    if ends is not None and out.endswith(ends):
                        break
        except (TimeoutError, ConnectionError):
            pass
        writer.transport.abort()
        return out

    async def ask_bad(self, path: str, *, seconds: float = 30.0) -> tuple[int, bytes]:
        """Status and body of a request to the hostile server; 0: the answer was torn."""
        try:
            async with self.client.get(
                self.url + path,
                headers=self.headers(self.bad),
                timeout=ClientTimeout(total=seconds),
            ) as answer:
                return answer.status, await answer.read()
        except ClientError:
            return 0, b""

    def connect(self, place: Place, path: str = "/socket", **options: Any) -> Any:
        """A WebSocket of the app's own page."""
        options.setdefault("origin", self.proxy.origin(place.name))
        options.setdefault("additional_headers", {"Cookie": f"fastgpu={place.secret}"})
        return websockets.connect(
            f"ws://{self.proxy.host(place.name)}{path}",
            host="127.0.0.1",
            port=self.proxy.port,
            max_size=None,
            **options,
        )


async def opened(lab: Lab, **options: Any) -> ClientConnection:
    """A WebSocket that has heard the server's first word."""
    socket: ClientConnection = await lab.connect(lab.good, **options)
    assert await socket.recv() == "early"
    return socket


async def until(holds: Any, seconds: float = 20.0) -> None:
    """Return once `holds()` is true; TimeoutError when that takes too long."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # it holds in another process
            await asyncio.sleep(0.01)


async def still(look: Callable[[], int], *, seconds: float = 0.5) -> int:
    """What `look()` says once it has said the same for so long."""
    loop = asyncio.get_running_loop()
    said, since = look(), loop.time()
    while loop.time() < since + seconds:
        await asyncio.sleep(0.01)
        if (now := look()) != said:
            said, since = now, loop.time()
    return said


async def send_until_held(writer: asyncio.StreamWriter, piece: bytes, *, seconds: float) -> int:
    """Send `piece` again and again for so long; the bytes that were taken."""
    sent = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
    except TimeoutError:
        return sent
