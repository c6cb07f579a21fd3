"""What browsers ask of a proxy, by plain blocking sockets: the load of `tests.bench.proxy`."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.bench.upstream import ANSWER, BODY, DONE, FRAME_BYTES, MESSAGE

TIMEOUT_SECONDS = 20.0
_BLOCK_BYTES = 1 << 20
_MASK = bytes((1, 2, 3, 4))
FRAME = bytes([0x82, 0x80 | len(MESSAGE)]) + _MASK + MESSAGE
assert len(FRAME) == FRAME_BYTES  # what the upstream counts by
# What comes before a measured second: caches fill, code is compiled.
WARM_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy: where it listens, and whom a browser asks it for, with which cookie."""

    port: int
    host: str
    cookie: str

    def head(self, line: str, *more: str) -> bytes:
        """A request's head as a page of the app sends it."""
        words = (
            f"{line} HTTP/1.1", f"Host: {self.host}", f"Cookie: {self.cookie}; _xsrf=2|7586b241",
            f"Origin: http://{self.host}", "Accept: */*", "Accept-Encoding: gzip, deflate",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            *more,
        )  # fmt: skip
        return ("\r\n".join(words) + "\r\n\r\n").encode()


def download(target: Target, size: int) -> float:
    """Bytes per second of one answer of `size` bytes."""
    buffer = bytearray(_BLOCK_BYTES)
    with _connection(target) as client:
        began = time.perf_counter()
        client.sendall(target.head(f"GET /{size}"))
        head = _read_head(client)
        got = len(_after_head(head, b"200"))
        while got < size:
            count = client.recv_into(buffer)
            if not count:
                raise RuntimeError(f"the download ended after {got} bytes")
            got += count
        return size / (time.perf_counter() - began)


def upload(target: Target, size: int) -> float:
    """Bytes per second of one request of `size` bytes, until it is answered."""
    block = bytes(_BLOCK_BYTES)
    with _connection(target) as client:
        began = time.perf_counter()
        client.sendall(target.head("PUT /", f"Content-Length: {size}"))
        for _ in range(size // len(block)):
            client.sendall(block)
        answer = _read_head(client)
        while not answer.endswith(DONE):
            piece = client.recv(4096)
            if not piece:
                raise RuntimeError(f"the upload was answered {answer[:100]!r}")
            answer += piece
        _after_head(answer, b"200")
        return size / (time.perf_counter() - began)


def requests(target: Target, connections: int, seconds: float) -> list[float]:
    """Seconds each small request took, over so many connections that are kept."""
    with _connection(target) as client:
        client.sendall(target.head("GET /"))
        _after_head(_read_head(client), b"200")
    with _several(lambda: _connect(target), connections) as clients:
        return _rounds(clients, target.head("GET /"), lambda got: got.endswith(BODY), seconds)


def round_trips(target: Target, sockets: int, seconds: float) -> list[float]:
    """Seconds from each frame to its answer, on so many WebSockets at once."""
    with open_sockets(target, sockets) as clients:
        return _rounds(clients, FRAME, lambda got: len(got) == len(ANSWER), seconds)


@contextmanager
def open_sockets(target: Target, count: int) -> Iterator[Sequence[socket.socket]]:
    """So many WebSockets that are open and idle."""

    def opened() -> socket.socket:
        client = _connect(target)
        client.sendall(
            target.head(
                "GET /socket", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            )
        )  # fmt: skip
        _after_head(_read_head(client), b"101")
        return client

    with _several(opened, count) as clients:
        yield clients


def until_closed(client: socket.socket) -> None:
    """Wait until the other side has ended it, in whatever way."""
    with suppress(ConnectionResetError):
        while client.recv(65536):
            pass


@contextmanager
def _several(make: Callable[[], socket.socket], count: int) -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    try:
        made.extend(make() for _ in range(count))
        yield made
    finally:
        for each in made:
            each.close()


def _rounds(
    clients: Sequence[socket.socket],
    sent: bytes,
    is_whole: Callable[[bytes], bool],
    seconds: float,
) -> list[float]:
    """Send on each connection, and again as soon as the answer is whole."""
    clock = time.perf_counter
    by_number = {client.fileno(): client for client in clients}
    got = dict.fromkeys(by_number, b"")
    began: dict[int, float] = {}
    took: list[float] = []
    with select.epoll() as ready:
        for number, client in by_number.items():
            ready.register(number, select.EPOLLIN)
            began[number] = clock()
            client.sendall(sent)
        start = clock()
        warm, end = start + seconds * WARM_SHARE, start + seconds
        while (now := clock()) < end or not took:
            events = ready.poll(TIMEOUT_SECONDS)
            if not events:
                raise RuntimeError("nothing is answered any more")
            for number, _ in events:
                client = by_number[number]
                piece = client.recv(65536)
                if not piece:
                    raise RuntimeError("a connection was closed")
                got[number] += piece
                if is_whole(got[number]):
                    now = clock()
                    if began[number] >= warm:
                        took.append(now - began[number])
                    got[number], began[number] = b"", now
                    client.sendall(sent)
    return took


@contextmanager
def _connection(target: Target) -> Iterator[socket.socket]:
    with _connect(target) as client:
        yield client


def _connect(target: Target) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", target.port), TIMEOUT_SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _read_head(client: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = client.recv(4096)
        if not piece:
            raise RuntimeError(f"closed after {got[:100]!r}")
        got += piece
    return got


def _after_head(answer: bytes, status: bytes) -> bytes:
    if answer.split(b" ", 2)[1] != status:
        raise RuntimeError(f"not a {status.decode()}: {answer[:300]!r}")
    return answer.partition(b"\r\n\r\n")[2]
