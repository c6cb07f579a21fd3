"""What crosses the proxy, and how: HTTP."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.clusters.proxy.lab import Lab, send_until_held, still, until
from tests.clusters.proxy.servers import CHUNKS, FILE, TOKEN


def _headers_in(answer: bytes) -> dict[str, str]:
    """What the server says it was asked with."""
    return {
        key.lower(): value for key, value in json.loads(answer.split(b"\r\n\r\n", 1)[1])["headers"]
    }


async def test_path_and_query_cross_byte_by_byte(lab: Lab) -> None:
    target = "/echo/a%2Fb/%7e%20//c?x=%20&y=a+b&z=%e2%82&token=ours-it-is-not"
    answer = await lab.raw(
        f"GET {target} HTTP/1.1\r\n{lab.head(lab.good)}Connection: close\r\n\r\n"
    )
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["target"] == target


async def test_our_cookie_and_forged_headers_stay_here(lab: Lab) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil",
        "X-Real-IP": "6.6.6.6",
        "Connection": "keep-alive, x-secret",
        "X-Secret": "1",
        "Authorization": "token somebody's",
    }
    async with lab.client.get(f"{lab.url}/echo", headers=forged) as answer:
        seen = {key.lower(): value for key, value in (await answer.json())["headers"]}
    assert seen["cookie"] == "mine=1"
    assert seen["authorization"] == f"token {TOKEN}"
    assert seen["host"] == lab.proxy.host(lab.good.name)
    assert not {"x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-secret"} & set(seen)


async def test_nothing_is_added_to_a_bare_request(lab: Lab) -> None:
    answer = await lab.raw(
        f"GET /echo HTTP/1.1\r\nHost: {lab.proxy.host(lab.good.name)}\r\n"
        f"Cookie: fastgpu={lab.good.secret}\r\nConnection: close\r\n\r\n"
    )
    assert set(_headers_in(answer)) == {"host", "authorization", "x-forwarded-proto"}


async def test_nothing_is_added_to_a_bare_answer(lab: Lab) -> None:
    answer = await lab.raw(f"GET /bare HTTP/1.1\r\n{lab.head(lab.bad)}\r\n", ends=b"\r\n\r\nhi")
    head, _, body = answer.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert (names, body) == ({b"content-length", b"date"}, b"hi")


async def test_cookies_stay_apart_and_with_the_host_that_set_them(lab: Lab) -> None:
    async with lab.client.get(f"{lab.url}/cookies") as answer:
        assert answer.headers.getall("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/; HttpOnly"]
        assert "X-Mine" not in answer.headers


async def test_headers_that_reach_past_the_origin_stay_here(lab: Lab) -> None:
    async with lab.client.get(f"{lab.url}/reaching") as answer:
        kept = {name.lower() for name in answer.headers}
    assert not kept & {
        "clear-site-data",
        "strict-transport-security",
        "alt-svc",
        "x-accel-redirect",
        "x-sendfile",
    }
    assert {"service-worker-allowed", "x-accel-buffering"} <= kept


async def test_a_server_that_went_is_502(lab: Lab) -> None:
    async with lab.client.get(lab.url, headers=lab.headers(lab.gone)) as answer:
        assert answer.status == 502
        assert (await answer.json())["error"]["code"] == "no_answer"


async def test_chunks_arrive_as_they_are_sent(lab: Lab) -> None:
    """The server sends each only once the one before has come."""
    came = []
    async with asyncio.timeout(30), lab.client.get(f"{lab.url}/chunks") as answer:
        async for chunk in answer.content.iter_any():
            came.append(chunk)
            lab.seen.chunk_came.release()
    assert came == [b"%d\n" % number for number in range(CHUNKS)]


async def test_a_compressed_body_stays_compressed(lab: Lab) -> None:
    async with lab.client.get(f"{lab.url}/gzip") as answer:
        assert gzip.decompress(await answer.read()) == b"hello"
        assert answer.headers["Content-Encoding"] == "gzip"


async def test_a_compressed_upload_stays_compressed(lab: Lab) -> None:
    body = gzip.compress(b"q" * 1000)
    headers = {"Content-Encoding": "gzip"}
    async with lab.client.put(f"{lab.url}/echo", data=body, headers=headers) as answer:
        # The server unpacks it, which it could not if it were unpacked already.
        assert (await answer.json())["crc"] == zlib.crc32(b"q" * 1000)


async def test_a_range_crosses(lab: Lab) -> None:
    async with lab.client.get(f"{lab.url}/file", headers={"Range": "bytes=3-9"}) as answer:
        assert answer.status == 206
        assert await answer.read() == FILE.read_bytes()[3:10]
        assert answer.headers["Content-Range"].startswith("bytes 3-9/")


async def test_head_keeps_its_length(lab: Lab) -> None:
    async with lab.client.head(f"{lab.url}/file") as answer:
        assert int(answer.headers["Content-Length"]) == FILE.stat().st_size


@pytest.mark.parametrize("status", [204, 304, 404, 500, 503])
async def test_statuses_cross_and_the_connection_is_kept(lab: Lab, status: int) -> None:
    request = f"GET /status/{status} HTTP/1.1\r\n{lab.head(lab.good)}"
    answer = await lab.raw(f"{request}\r\n{request}Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 %d" % status) == 2


async def test_pipelined_requests_are_answered_in_order(lab: Lab) -> None:
    head = lab.head(lab.good)
    requests = "".join(f"GET /echo/{n} HTTP/1.1\r\n{head}\r\n" for n in range(19))
    answer = await lab.raw(f"{requests}GET /echo/19 HTTP/1.1\r\n{head}Connection: close\r\n\r\n")
    places = [answer.find(b'/echo/%d"' % number) for number in range(20)]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_uploads_arrive_whole(lab: Lab, is_chunked: bool) -> None:
    data = os.urandom(20_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    body = pieces() if is_chunked else io.BytesIO(data)
    async with lab.client.put(f"{lab.url}/echo", data=body) as answer:
        found = await answer.json()
    assert (found["bytes"], found["crc"]) == (len(data), zlib.crc32(data))
    assert ("Transfer-Encoding" in dict(found["headers"])) is is_chunked


async def test_who_waits_to_be_asked_for_the_body_is_asked(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
    expects = "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    writer.write(f"PUT /echo HTTP/1.1\r\n{lab.head(lab.good)}{expects}".encode())
    async with asyncio.timeout(30):
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def test_a_slow_reader_holds_the_server_back(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port, limit=4096)
    writer.write(f"GET /big HTTP/1.1\r\n{lab.head(lab.good)}\r\n".encode())
    await reader.read(10)
    assert await still(lambda: lab.seen.sent) < 16_000_000
    writer.transport.abort()
    await until(lambda: lab.seen.is_broken)


async def test_a_slow_server_holds_the_uploader_back(lab: Lab) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
    length = f"Content-Length: {1 << 30}\r\n\r\n"
    writer.write(f"PUT /slow HTTP/1.1\r\n{lab.head(lab.good)}{length}".encode())
    assert await send_until_held(writer, b"x" * 65536, seconds=1.0) < 16_000_000
    writer.transport.abort()


async def test_a_client_that_leaves_ends_its_request_at_the_server(lab: Lab) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
    writer.write(f"GET /hang HTTP/1.1\r\n{lab.head(lab.good)}\r\n".encode())
    await until(lambda: lab.seen.hanging == 1)
    writer.close()
    await until(lambda: lab.seen.hanging == 0)


async def test_a_client_that_half_closes_still_gets_its_answer(lab: Lab) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
    head = f"GET /echo HTTP/1.1\r\n{lab.head(lab.good)}Connection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.transport.abort()
    assert b"200 OK" in answer
