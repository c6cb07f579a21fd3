"""What workloads serve in these tests: one server that behaves, one that does anything else."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientPayloadError, WSMsgType, web

BIG_BYTES = 1 << 30
CHUNKS = 5
FILE = Path(__file__)
PROTOCOL = "v1.kernel.websocket.jupyter.org"
# What the server demands, as Jupyter's does.
TOKEN = "token-of-the-server"


PAGE = (
    b"<!doctype html><html><head><title>Lab</title><meta charset=utf-8></head>"
    b"<body><p>" + b"x" * 5000 + b"</p></body></html>"
)
_AT_START = PAGE.index(b"</head>") + 3


@dataclass(frozen=True)
class Page:
    """One page, and how it is sent: in `pieces`, with pauses between them."""

    body: bytes
    pieces: tuple[bytes, ...] = ()
    pause_seconds: float = 0.0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


PAGES = {
    "whole": Page(PAGE),
    "upper": Page(PAGE.replace(b"</head>", b"</HEAD\n>")),
    "chunked": Page(PAGE, pieces=(PAGE[:20], PAGE[20:])),
    # The end of the head itself comes in two.
    "slowly": Page(PAGE, pieces=(PAGE[:_AT_START], PAGE[_AT_START:]), pause_seconds=0.3),
    "compressed": Page(gzip.compress(PAGE), headers={"Content-Encoding": "gzip"}),
    "plain": Page(PAGE, headers={"Content-Type": "text/plain"}),
    "error": Page(PAGE, status=500),
    "headless": Page(b"<p>" + b"x" * 100_000),
    "late": Page(b"<!--" + b"x" * 300_000 + b"-->" + PAGE),
    "never": Page(PAGE, pieces=(PAGE[:20], PAGE[20:]), pause_seconds=2.5),
}


@dataclass
class Seen:
    """What the server has seen and done."""

    sent: int = 0
    is_broken: bool = False
    taken: int = 0
    is_torn: bool = False
    hanging: int = 0
    chunk_came: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    close_codes: list[int | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@asynccontextmanager
async def good_server(socket: Path) -> AsyncIterator[Seen]:
    """A server that behaves, for the length of the block."""
    app, seen = web.Application(client_max_size=1 << 40), Seen()
    handlers = _Handlers(seen)
    app.add_routes(
        [
            web.route("*", "/echo{tail:.*}", handlers.echo),
            web.get("/cookies", handlers.cookies),
            web.get("/reaching", handlers.reaching),
            web.get("/chunks", handlers.chunks),
            web.get("/gzip", handlers.gzipped),
            web.get("/file", handlers.file),
            web.get("/status/{status}", handlers.status),
            web.get("/big", handlers.big),
            web.put("/slow", handlers.slow),
            web.put("/sink", handlers.sink),
            web.get("/hang", handlers.hang),
            web.get("/page/{name}", handlers.page),
            web.get("/declined", handlers.declined),
            web.get("/socket", handlers.socket),
            web.get("/terminals/websocket/1", handlers.socket),
        ]
    )
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield seen
    finally:
        await runner.cleanup()


class _Handlers:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def echo(self, request: web.Request) -> web.Response:
        """What was asked."""
        body = await request.read()
        self._seen.paths.append(request.raw_path)
        return web.json_response(
            {
                "method": request.method,
                "target": request.raw_path,
                "headers": list(map(list, request.headers.items())),
                "bytes": len(body),
                "crc": zlib.crc32(body),
            }
        )

    async def cookies(self, _request: web.Request) -> web.Response:
        answer = web.Response(text="x")
        for line in (
            "a=1; Path=/",
            "b=2; Path=/; Domain=apps.localhost; HttpOnly",
            "fastgpu=mine; Path=/",
            "FastGPU =mine",
            "=fastgpu=mine",
            "fastgpu",
        ):
            answer.headers.add("Set-Cookie", line)
        answer.headers["Connection"] = "keep-alive, x-mine"
        answer.headers["X-Mine"] = "1"
        return answer

    async def reaching(self, _request: web.Request) -> web.Response:
        headers = {
            "Clear-Site-Data": '"*"',
            "Strict-Transport-Security": "max-age=1; includeSubDomains",
            "Alt-Svc": 'h2="evil.example:443"',
            "X-Accel-Redirect": "/private",
            "X-Sendfile": "/etc/passwd",
            "Service-Worker-Allowed": "/",
            "X-Accel-Buffering": "no",
        }
        return web.Response(text="x", headers=headers)

    async def chunks(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for number in range(CHUNKS):
            await answer.write(b"%d\n" % number)
            await self._seen.chunk_came.acquire()
        await answer.write_eof()
        return answer

    async def gzipped(self, _request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})

    async def file(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(FILE)

    async def status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    async def big(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(BIG_BYTES)})
        await answer.prepare(request)
        chunk = b"x" * (1 << 18)
        try:
            for _ in range(BIG_BYTES // len(chunk)):
                await answer.write(chunk)
                self._seen.sent += len(chunk)
        except (ConnectionError, asyncio.CancelledError):
            self._seen.is_broken = True
            raise
        return answer

    async def slow(self, request: web.Request) -> web.Response:
        async for _ in request.content.iter_chunked(1 << 16):
            await asyncio.sleep(0.05)
        return web.Response()

    async def sink(self, request: web.Request) -> web.Response:
        try:
            async for piece in request.content.iter_any():
                self._seen.taken += len(piece)
        except (OSError, asyncio.CancelledError, ClientPayloadError):
            self._seen.is_torn = True
            raise
        return web.Response()

    async def hang(self, _request: web.Request) -> web.Response:
        self._seen.hanging += 1
        try:
            await asyncio.sleep(60)
        finally:
            self._seen.hanging -= 1
        return web.Response()

    async def page(self, request: web.Request) -> web.StreamResponse:
        page = PAGES[request.match_info["name"]]
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "ETag": '"one"',
            "Accept-Ranges": "bytes",
            "Content-Security-Policy": "script-src 'self'",
            "X-Mine": "1",
        }
        if request.headers.get("If-None-Match", "").removeprefix("W/") == '"one"':
            return web.Response(status=304, headers=headers)
        answer = web.StreamResponse(status=page.status, headers=headers | page.headers)
        if page.pieces:
            answer.enable_chunked_encoding()
        else:
            answer.content_length = len(page.body)
        await answer.prepare(request)
        for piece in page.pieces or (page.body,):
            await answer.write(piece)
            await asyncio.sleep(page.pause_seconds)
        await answer.write_eof()
        return answer

    async def declined(self, _request: web.Request) -> web.Response:
        return web.Response(status=403, text="no sockets here")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Says `early`, then what it is told; `close` and `ping` do as they say."""
        socket = web.WebSocketResponse(protocols=[PROTOCOL], max_msg_size=0)
        await socket.prepare(request)
        try:
            await socket.send_str("early")
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    await socket.send_bytes(message.data)
                elif message.data == "close":
                    await socket.close(code=4321, message=b"bye")
                elif message.data == "headers":
                    await socket.send_str(json.dumps(list(map(list, request.headers.items()))))
                else:
                    if message.data == "ping":
                        await socket.ping(b"hi")
                    await socket.send_str(message.data)
        finally:
            self._seen.close_codes.append(socket.close_code)
        return socket


_MANY = 1 << 14


@dataclass
class Sent:
    """How much a server could send."""

    bytes: int = 0


class _Counted:
    """A writer whose bytes are counted."""

    def __init__(self, writer: Writer, sent: Sent) -> None:
        self._writer = writer
        self._sent = sent

    def write(self, data: bytes) -> None:
        """Send, once the last was taken."""
        self._writer.write(data)
        self._sent.bytes += len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


@asynccontextmanager
async def hostile_server(socket: Path) -> AsyncIterator[Sent]:
    """A server that does what the path says, in bytes."""
    writers: set[Writer] = set()
    sent = Sent()

    async def answer(reader: Reader, writer: Writer) -> None:
        writers.add(writer)
        await _be_hostile(reader, cast("Writer", _Counted(writer, sent)))

    server = await asyncio.start_unix_server(answer, str(socket))
    try:
        yield sent
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        # Each is closed once its loop has come round.
        for writer in writers:
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _be_hostile(reader: Reader, writer: Writer) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        await _DEEDS[head.split()[1].decode().strip("/").partition("?")[0]](reader, writer, head)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def _says(answer: bytes, *, then_seconds: float = 0.0) -> Callable[..., Awaitable[None]]:
    async def say(_reader: Reader, writer: Writer, _head: bytes) -> None:
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(then_seconds)

    return say


def _repeats(start: bytes, piece: bytes, times: int) -> Callable[..., Awaitable[None]]:
    async def repeat(_reader: Reader, writer: Writer, _head: bytes) -> None:
        writer.write(start)
        for _ in range(times):
            writer.write(piece)
            await writer.drain()

    return repeat


async def _half_closes(_reader: Reader, writer: Writer, _head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    writer.write_eof()
    await asyncio.sleep(2)


async def _drips(_reader: Reader, writer: Writer, _head: bytes) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi":
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.002)


async def _goes_stale(reader: Reader, writer: Writer, _head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    await writer.drain()
    # It closes when the next request arrives.
    await reader.read(1)


async def _never_answers(reader: Reader, _writer: Writer, _head: bytes) -> None:
    await reader.read()


async def _prints_what_it_got(_reader: Reader, writer: Writer, head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


async def _deaf_socket(reader: Reader, writer: Writer, _head: bytes) -> None:
    """Switches protocols, sends without end and never reads."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
    writer.write(b"Connection: Upgrade\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


_DEEDS: dict[str, Callable[..., Awaitable[None]]] = {
    "headers": _repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 65000 + b"\r\n", _MANY),
    "oneheader": _repeats(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65536, _MANY),
    "smallheaders": _repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n" * 10_000, _MANY),
    "100s": _repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 1 << 20),
    "103s": _repeats(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1000, 1 << 20),
    "few103s": _says(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3
        + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    ),
    "midlength": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100),
    "midchunk": _says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    "nothing": _says(b""),
    "garbage": _says(os.urandom(4096)),
    "500": _says(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    "both": _says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    ),
    "twolengths": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello"),
    "negative": _says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello"),
    "extra": _says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        then_seconds=0.3,
    ),
    "next": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"),
    "untilclose": _says(b"HTTP/1.1 200 OK\r\n\r\nuntil close"),
    "bare": _says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    "unasked": _says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        b"rawraw",
        then_seconds=1.0,
    ),
    "early413": _says(b"HTTP/1.1 413 Too big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"),
    "halfclosed": _half_closes,
    "drip": _drips,
    "stale": _goes_stale,
    "silent": _never_answers,
    "printing": _prints_what_it_got,
    "deaf": _deaf_socket,
}
