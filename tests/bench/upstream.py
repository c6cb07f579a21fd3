"""`python -m tests.bench.upstream PORT`: what the measured proxies forward to.

It does as little as can be, so that what is measured is the proxy: small answers, long answers, a
sink for uploads, and a WebSocket that answers each frame of FRAME_BYTES with another.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import cast

import uvloop

MESSAGE = b"x" * 64
# A client's frame has a mask in it, a server's has none.
FRAME_BYTES, ANSWER = 6 + len(MESSAGE), b"\x82" + bytes([len(MESSAGE)]) + MESSAGE
BODY = b'{"version": "2.14.0"}'
DONE = b"it is all here"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BLOCK = memoryview(b"x" * (1 << 18))
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)


class _Server(asyncio.Protocol):
    """One connection. `GET /<n>` is answered with n bytes, `GET /` with BODY, `PUT /` with DONE."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._head = b""
        self._expected = 0
        self._owed = 0
        self._is_held = False
        self._is_socket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_socket:
            self._answer_frames(len(data))
        elif self._expected:
            self._take(len(data))
        else:
            self._head += data
            if b"\r\n\r\n" in self._head:
                head, _, rest = self._head.partition(b"\r\n\r\n")
                self._head = b""
                self._answer(head, len(rest))

    def pause_writing(self) -> None:
        self._is_held = True

    def resume_writing(self) -> None:
        self._is_held = False
        self._pay()

    def _answer(self, head: bytes, extra: int) -> None:
        key = _KEY.search(head)
        if key:
            self._is_socket, self._expected = True, 0
            digest = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + digest + b"\r\n\r\n"
            )
            return
        length = _LENGTH.search(head)
        if head.startswith(b"PUT") and length:
            self._expected = int(length[1])
            self._take(extra)
            return
        path = head.split(b" ", 2)[1].strip(b"/")
        if path:
            self._transport.write(_headers(int(path)))
            self._owed = int(path)
            self._pay()
        else:
            self._transport.write(_headers(len(BODY)) + BODY)

    def _take(self, count: int) -> None:
        self._expected -= count
        if not self._expected:
            self._transport.write(_headers(len(DONE)) + DONE)

    def _answer_frames(self, count: int) -> None:
        self._expected += count
        frames, self._expected = divmod(self._expected, FRAME_BYTES)
        if frames:
            self._transport.write(ANSWER * frames)

    def _pay(self) -> None:
        while self._owed and not self._is_held and not self._transport.is_closing():
            block = _BLOCK[: self._owed]
            self._owed -= len(block)
            self._transport.write(block)


def _headers(length: int) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % length
    )


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Server, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
