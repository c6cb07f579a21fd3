"""WebSockets: relayed as bytes, so that all of them is a matter of the two ends."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
import websockets

from tests.clusters.proxy.lab import HANDSHAKE, Lab, opened, send_until_held, still, until
from tests.clusters.proxy.servers import PROTOCOL, TOKEN


async def test_messages_protocol_and_compression_are_the_servers(lab: Lab) -> None:
    async with lab.connect(lab.good, subprotocols=[PROTOCOL], compression="deflate") as socket:
        assert socket.subprotocol == PROTOCOL
        assert [type(each).__name__ for each in socket.protocol.extensions] == ["PerMessageDeflate"]
        assert await socket.recv() == "early"
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send(b"\0\1" * 50)
        assert await socket.recv() == b"\0\1" * 50


async def test_our_cookie_stays_here(lab: Lab) -> None:
    socket = await opened(lab)
    await socket.send("headers")
    headers = {key.lower(): value for key, value in json.loads(await socket.recv())}
    await socket.close()
    assert "cookie" not in headers
    assert headers["authorization"] == f"token {TOKEN}"


async def test_fragments_and_large_messages_cross(lab: Lab) -> None:
    socket = await opened(lab, compression=None)
    await socket.send(["a", "b", "c" * 100_000])
    assert await socket.recv() == "ab" + "c" * 100_000
    large = os.urandom(30_000_000)
    await socket.send(large)
    assert await socket.recv() == large
    await socket.close()


async def test_pings_reach_the_other_end(lab: Lab) -> None:
    socket = await opened(lab, compression=None)
    await (await socket.ping(b"q"))
    await socket.send("ping")
    assert await socket.recv() == "ping"
    await socket.close()


async def test_the_servers_close_code_crosses(lab: Lab) -> None:
    socket = await opened(lab)
    await socket.send("close")
    with pytest.raises(websockets.ConnectionClosed):
        await socket.recv()
    assert (socket.close_code, socket.close_reason) == (4321, "bye")


async def test_the_browsers_close_code_crosses(lab: Lab) -> None:
    socket = await opened(lab)
    await socket.close(4009, "mine")
    await until(lambda: lab.seen.close_codes == [4009])


async def test_frames_right_behind_the_handshake_are_not_lost(lab: Lab) -> None:
    frame = b"\x81\x82\0\0\0\0hi"
    request = f"GET /socket HTTP/1.1\r\n{lab.head(lab.good)}{HANDSHAKE}\r\n".encode()
    answer = await lab.raw(request + frame, ends=b"\x81\x02hi")
    assert answer.startswith(b"HTTP/1.1 101")
    assert answer.endswith(b"\x81\x05early\x81\x02hi")


async def test_a_declined_socket_leaves_the_connection_good(lab: Lab) -> None:
    head = lab.head(lab.good)
    first = f"GET /declined HTTP/1.1\r\n{head}{HANDSHAKE}\r\n"
    second = f"GET /status/404 HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    answer = await lab.raw(first + second)
    assert b"HTTP/1.1 403" in answer
    assert b"no sockets here" in answer
    assert b"HTTP/1.1 404" in answer


async def test_a_browser_that_dies_closes_the_servers_side(lab: Lab) -> None:
    socket = await opened(lab)
    socket.transport.abort()
    await until(lambda: len(lab.seen.close_codes) == 1)


async def test_a_slow_reader_holds_the_server_back(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port, limit=1024)
    writer.write(f"GET /socket HTTP/1.1\r\n{lab.head(lab.good)}{HANDSHAKE}\r\n".encode())
    await reader.readuntil(b"early")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    size = 1 << 20
    frame = b"\x82\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + b"x" * size
    assert await send_until_held(writer, frame, seconds=1.5) < 40 * size
    writer.transport.abort()
    await until(lambda: len(lab.seen.close_codes) == 1)


async def test_a_tunnel_full_in_both_directions_still_ends(lab: Lab) -> None:
    """Nobody reads, so nothing can be flushed: the second end is cut off after some seconds."""
    before = await still(lambda: int(lab.proxy.health()["sockets"]))
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port, limit=1024)
    writer.write(f"GET /deaf HTTP/1.1\r\n{lab.head(lab.bad)}{HANDSHAKE}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await send_until_held(writer, b"x" * 65536, seconds=1.0)
    await until(lambda: lab.proxy.health()["sockets"] == before + 1)
    writer.transport.abort()
    await until(lambda: lab.proxy.health()["sockets"] == before)


async def test_open_sockets_are_counted_by_app(lab: Lab) -> None:
    # Those of the tests before it have been seen to close.
    await still(lambda: sum(lab.proxy.connections().values()))
    before = lab.proxy.connections()
    sockets = [await opened(lab) for _ in range(3)]
    now = lab.proxy.connections()
    assert now[lab.good.name] - before[lab.good.name] == 3
    assert now[lab.bad.name] == before[lab.bad.name]
    for socket in sockets:
        await socket.close()
    await until(lambda: lab.proxy.connections()[lab.good.name] == before[lab.good.name])
