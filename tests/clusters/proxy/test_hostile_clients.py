"""Requests that are shaped to be read in two ways, or to reach another's app."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import httpx
import pytest

from tests.clusters.proxy.lab import Lab, opened, until
from tests.clusters.proxy.process import wait_for

GIB = 1 << 30
MANY = 10_000


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


async def test_length_and_chunks_together_are_refused(lab: Lab) -> None:
    both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    request = f"POST /echo HTTP/1.1\r\n{lab.head(lab.good)}{both}GET /echo/second HTTP/1.1\r\n\r\n"
    answer = await lab.raw(request)
    assert _status(answer) == 400
    assert answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize(
    "line",
    [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Content-Length: +5",
        "Content-Length: 5\r\nContent-Length: 6",
        "X: a\x00b",
        "X\r: b",
    ],
)
async def test_shapes_that_smuggle_are_refused(lab: Lab, line: str) -> None:
    request = f"POST /echo HTTP/1.1\r\n{lab.head(lab.good)}{line}\r\n\r\n0\r\n\r\n"
    assert _status(await lab.raw(request, seconds=0.5)) in {0, 400}


@pytest.mark.parametrize("order", [0, 1])
async def test_a_second_host_is_refused(lab: Lab, order: int) -> None:
    hosts = [f"Host: {lab.proxy.host(place.name)}\r\n" for place in (lab.good, lab.bad)]
    lines = "".join(hosts if order else reversed(hosts))
    cookie = f"Cookie: fastgpu={lab.good.secret}; fastgpu={lab.bad.secret}\r\n"
    answer = await lab.raw(f"GET /next HTTP/1.1\r\n{lines}{cookie}\r\n")
    assert _status(answer) == 400


async def test_a_target_that_names_another_host_is_refused(lab: Lab) -> None:
    for target in (
        f"http://{lab.proxy.host(lab.bad.name)}/next",
        f"http://{lab.proxy.host(lab.good.name)}/echo",
        "*",
        "evil.example:443",
    ):
        request = f"GET {target} HTTP/1.1\r\n{lab.head(lab.good)}Connection: close\r\n\r\n"
        assert _status(await lab.raw(request)) == 400, target


async def test_a_target_that_looks_like_an_authority_stays_a_path(lab: Lab) -> None:
    target = "//evil.example/echo"
    request = f"GET {target} HTTP/1.1\r\n{lab.head(lab.good)}Connection: close\r\n\r\n"
    assert _status(await lab.raw(request)) == 404


@pytest.mark.parametrize("spelling", ["upper", "port", "no port"])
async def test_spellings_of_one_host_are_one_app(lab: Lab, spelling: str) -> None:
    host = lab.proxy.host(lab.good.name)
    said = {"upper": host.upper(), "port": f"{host.partition(':')[0]}:99", "no port": host[:-6]}
    headers = {"Host": said[spelling]}
    async with lab.client.get(f"{lab.url}/echo", headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "{name}.apps.localhost.",
        "{name}.apps.localhost.evil.example",
        "{name}.apps.evil.example",
        "x.{name}.apps.localhost",
        "{name}xapps.localhost",
        "{name}.apps.localhost@evil.example",
        ".apps.localhost",
        "apps.localhost",
        "localhost",
        "127.0.0.1",
        "[::1]",
    ],
)
async def test_other_hosts_are_no_app(lab: Lab, host: str) -> None:
    headers = {"Host": host.format(name=lab.good.name)}
    async with lab.client.get(f"{lab.url}/echo", headers=headers) as answer:
        assert answer.status == 404
        assert await answer.text() == "There is nothing here.\n"


async def test_a_session_opens_no_other_app(lab: Lab) -> None:
    headers = lab.headers(lab.bad) | {"Cookie": f"fastgpu={lab.good.secret}"}
    async with lab.client.get(f"{lab.url}/next", headers=headers) as answer:
        assert answer.status == 403


async def test_our_own_prefix_is_never_forwarded(lab: Lab) -> None:
    for path in ("/.fastgpu", "/.fastgpu/", "/.fastgpu/echo", "/.fastgpu/keep/x", "/.fastgpu?x"):
        async with lab.client.get(lab.url + path) as answer:
            assert answer.status == 404
            assert (await answer.json())["error"]["code"] == "not_found"


async def test_tossed_cookies_neither_sign_in_nor_lock_out(lab: Lab) -> None:
    tossed = "; ".join(f"fastgpu=fgc_{number:043d}" for number in range(100))
    for cookie in (
        f"{tossed}; fastgpu={lab.good.secret}",
        f"fastgpu={lab.good.secret}; {tossed}",
        f"fastgpu={lab.bad.secret}; fastgpu=; fastgpu={lab.good.secret}",
        f"fastgpu = x; fastgpu={lab.good.secret}",
    ):
        async with lab.client.get(f"{lab.url}/echo", headers={"Cookie": cookie}) as answer:
            assert answer.status == 200, cookie
            assert "Cookie" not in dict((await answer.json())["headers"])
    async with lab.client.get(f"{lab.url}/echo", headers={"Cookie": tossed}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("size", [40_000, 200_000])
async def test_too_many_cookies_are_cleared(lab: Lab, size: int) -> None:
    head = f"Host: {lab.proxy.host(lab.good.name)}\r\nConnection: close\r\n"
    cookie = f"fastgpu={lab.good.secret}; x={'a' * size}"
    answer = await lab.raw(f"GET /echo HTTP/1.1\r\n{head}Cookie: {cookie}\r\n\r\n")
    assert _status(answer) == 431
    assert b'Clear-Site-Data: "cookies"' in answer


async def test_a_long_address_clears_nothing(lab: Lab) -> None:
    """Or any site's link could sign people out."""
    answer = await lab.raw(
        f"GET /{'a' * 100_000} HTTP/1.1\r\nHost: {lab.proxy.host(lab.good.name)}\r\n\r\n"
    )
    assert _status(answer) == 400
    assert b"Clear-Site-Data" not in answer


async def test_bytes_that_are_no_request_are_refused_quietly(lab: Lab) -> None:
    before = lab.proxy.log.stat().st_size
    for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 1000, b"A B C\r\n\r\n"):
        assert _status(await lab.raw(data, seconds=0.5)) in {0, 400}
    assert lab.proxy.log.stat().st_size == before


async def test_an_upload_that_is_cut_off_is_torn_at_the_server_too(lab: Lab) -> None:
    before = lab.proxy.memory_bytes()
    _, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
    length = f"Content-Length: {2 * GIB}\r\n\r\n"
    writer.write(f"PUT /sink HTTP/1.1\r\n{lab.head(lab.good)}{length}".encode())
    piece = b"x" * (1 << 20)
    for _ in range(200):
        writer.write(piece)
        await writer.drain()
    await until(lambda: lab.seen.taken > 100 << 20)
    writer.transport.abort()
    await until(lambda: lab.seen.is_torn)
    assert lab.proxy.memory_bytes() - before < 64 << 20
    async with lab.client.get(f"{lab.url}/echo") as answer:
        assert answer.status == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 1000:
        pytest.skip("this user may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ten_thousand_connections_leave_alone_what_is_open(
    lab: Lab, many_files: None
) -> None:
    socket = await opened(lab)
    before = lab.proxy.memory_bytes()
    idle = []
    for _ in range(MANY):
        _, writer = await asyncio.open_connection("127.0.0.1", lab.proxy.port)
        idle.append(writer)
    await socket.send("still here")
    assert await asyncio.wait_for(socket.recv(), 5) == "still here"
    assert lab.proxy.memory_bytes() - before < 30_000 * MANY
    for writer in idle:
        writer.transport.abort()
    await asyncio.to_thread(wait_for, lambda: lab.proxy.process.poll() is None and _health(lab))
    await socket.close()


def _health(lab: Lab) -> bool:
    try:
        return "routes" in lab.proxy.health()
    except httpx.HTTPError:
        return False
