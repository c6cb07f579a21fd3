"""Programs speak to a notebook from outside, through the proxy, with a token of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
TIMEOUT = aiohttp.ClientTimeout(total=90)


@pytest.fixture
def notebook(developer: Developer) -> Iterator[str]:
    """One that is ready; stopped afterwards."""
    body = {"name": "spoken to", "pool": "a100", "gpus": 1}
    made = developer.http.post("/notebooks", json=body)
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    until(lambda: developer.http.get(f"/notebooks/{found}").json()["is_ready"], seconds=120)
    yield found
    developer.http.post(f"/notebooks/{found}/stop")


async def test_a_program_runs_code_and_loses_its_way_in_with_its_token(
    stack: Stack, developer: Developer, notebook: str
) -> None:
    grant = developer.http.post(f"/notebooks/{notebook}/access").json()
    where = urlsplit(grant["url"])
    headers = {"Host": where.netloc, "Authorization": f"token {grant['token']}"}
    base = f"http://127.0.0.1:{where.port}"
    async with aiohttp.ClientSession(base, headers=headers, timeout=TIMEOUT) as session:
        async with session.post("/api/kernels", json={"name": "python3"}) as answer:
            assert answer.status == 201
            kernel = (await answer.json())["id"]
        async with session.ws_connect(f"/api/kernels/{kernel}/channels") as socket:
            assert await printed(socket, "print(6 * 7)") == "42\n"
            developer.http.delete(f"/notebooks/{notebook}/access")
            async with asyncio.timeout(10):
                async for _rest in socket:
                    pass  # until it is closed
            assert socket.closed
        async with session.get("/api/kernels", allow_redirects=False) as answer:
            assert answer.status in {401, 403}


async def printed(socket: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """What a kernel prints for `code`, in Jupyter's messages as JSON."""
    content = {
        "code": code, "silent": False, "store_history": True, "user_expressions": {},
        "allow_stdin": False,
    }  # fmt: skip
    header = {
        "msg_id": "ours", "msg_type": "execute_request", "session": "test", "username": "test",
        "version": "5.3", "date": "",
    }  # fmt: skip
    message = {
        "channel": "shell", "header": header, "parent_header": {}, "metadata": {},
        "content": content, "buffers": [],
    }  # fmt: skip
    await socket.send_json(message)
    text = ""
    while True:
        seen: dict[str, Any] = json.loads(await socket.receive_str(timeout=60))
        if seen["parent_header"].get("msg_id") != "ours":
            continue
        if seen["msg_type"] == "stream":
            text += seen["content"]["text"]
        if seen["msg_type"] == "execute_reply":
            return text
