"""Servers that answer nonsense, without end, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientTimeout

from tests.clusters.proxy.lab import Lab, still, until
from tests.clusters.proxy.servers import TOKEN

MEMORY_BYTES = 64 * 1024 * 1024
SOON_BYTES = 16 * 1024 * 1024


@pytest.mark.parametrize(
    "path",
    ["headers", "oneheader", "smallheaders", "100s", "103s", "garbage", "nothing", "negative",
     "twolengths"],
)  # fmt: skip
async def test_a_senseless_answer_is_502_soon_and_in_little_memory(lab: Lab, path: str) -> None:
    before = lab.proxy.memory_bytes()
    assert (await lab.ask_bad(f"/{path}"))[0] == 502
    # It would send a gibibyte and more.
    assert lab.sent.bytes < SOON_BYTES
    assert lab.proxy.memory_bytes() - before < MEMORY_BYTES


async def test_after_a_flood_the_next_request_is_answered(lab: Lab) -> None:
    await asyncio.gather(*(lab.ask_bad("/103s") for _ in range(5)))
    assert await lab.ask_bad("/500") == (500, b"oops")
    # None of the floods goes on behind it.
    assert await still(lambda: lab.sent.bytes) < 5 * SOON_BYTES


async def test_an_answer_that_was_announced_crosses(lab: Lab) -> None:
    assert await lab.ask_bad("/few103s") == (200, b"hi")


@pytest.mark.parametrize("path", ["midlength", "midchunk"])
async def test_a_torn_answer_looks_torn(lab: Lab, path: str) -> None:
    assert (await lab.ask_bad(f"/{path}"))[0] == 0


async def test_an_error_of_the_servers_own_crosses(lab: Lab) -> None:
    assert await lab.ask_bad("/500") == (500, b"oops")


async def test_length_and_chunks_together_are_no_answer(lab: Lab) -> None:
    status, body = await lab.ask_bad("/both")
    # Whichever is believed, nothing of it may be left over for the next request.
    assert (status, body) in {(502, body), (200, b"hello")}
    assert await lab.ask_bad("/next") == (200, b"next")


async def test_bytes_behind_an_answer_do_not_answer_the_next_request(lab: Lab) -> None:
    for _ in range(3):
        assert (await lab.ask_bad("/extra"))[1] == b"hi"
        assert (await lab.ask_bad("/next"))[1] == b"next"


@pytest.mark.parametrize(
    ("path", "body"), [("halfclosed", b"hi"), ("untilclose", b"until close"), ("drip", b"hi")]
)
async def test_odd_but_whole_answers_cross(lab: Lab, path: str, body: bytes) -> None:
    assert await lab.ask_bad(f"/{path}") == (200, body)


async def test_a_switch_nobody_asked_for_is_no_tunnel(lab: Lab) -> None:
    assert (await lab.ask_bad("/unasked"))[0] == 502


async def test_an_early_refusal_reaches_the_uploader(lab: Lab) -> None:
    request = f"PUT /early413 HTTP/1.1\r\n{lab.head(lab.bad)}Content-Length: 100000000\r\n\r\n"
    answer = await lab.raw(request.encode() + b"x" * 300_000, ends=b"big")
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_kept_connection_that_went_stale_fails_no_get(lab: Lab) -> None:
    for _ in range(4):
        assert (await lab.ask_bad("/stale"))[0] == 200


async def test_a_server_that_never_answers_holds_up_nobody_else(lab: Lab) -> None:
    url, headers = f"{lab.url}/silent", lab.headers(lab.bad)
    waits = [asyncio.create_task(_waits(lab, url, headers)) for _ in range(20)]
    await until(lambda: lab.proxy.health()["requests"] >= 20)
    async with lab.client.get(f"{lab.url}/echo") as answer:
        assert answer.status == 200
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await until(lambda: lab.proxy.health()["requests"] == 0)


async def _waits(lab: Lab, url: str, headers: dict[str, str]) -> None:
    async with lab.client.get(url, headers=headers, timeout=ClientTimeout(total=30)):
        pass


async def test_a_token_that_the_server_prints_opens_nothing(lab: Lab) -> None:
    _, body = await lab.ask_bad("/printing")
    assert TOKEN.encode() in body
    assert lab.bad.secret.encode() not in body
    host = {"Host": lab.proxy.host(lab.bad.name), "Cookie": ""}
    for headers in ({"Authorization": f"token {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}"}):
        async with lab.client.get(f"{lab.url}/next", headers=host | headers) as answer:
            assert answer.status in {401, 403}
    async with lab.client.get(f"{lab.url}/next?token={TOKEN}", headers=host) as answer:
        assert answer.status == 401
