"""Programs speak to a notebook from outside, through the proxy, with a token of their own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
import httpx
import pytest

from tests.ports import free_port
from tests.stacks.developer import Developer, until
from tests.stacks.environments import LOCKS, prepared
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
TIMEOUT = aiohttp.ClientTimeout(total=90)


def lab_python() -> str:
    """An interpreter that has Jupyter's own packages."""
    return str(prepared("lab") / "lab" / "bin" / "python")


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
            async with asyncio.timeout(30):
                async for _rest in socket:
                    pass  # until it is closed
            assert socket.closed
        async with session.get("/api/kernels", allow_redirects=False) as answer:
            assert answer.status in {401, 403}


def test_jupyters_own_client_runs_code(developer: Developer, notebook: str) -> None:
    grant = developer.http.post(f"/notebooks/{notebook}/access").json()
    where = urlsplit(grant["url"])
    origin = f"http://127.0.0.1:{where.port}"
    script = [lab_python(), LOCKS / "kernel.py", origin, where.netloc, grant["token"]]
    command = [*map(str, script), "print(6 * 7)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


async def test_a_jupyter_server_elsewhere_has_its_kernels_here(
    developer: Developer, notebook: str, tmp_path: Path
) -> None:
    grant = developer.http.post(f"/notebooks/{notebook}/access").json()
    where = urlsplit(grant["url"])
    with elsewhere(tmp_path, where, grant["token"]) as (base, token):
        headers = {"Authorization": f"token {token}"}
        async with aiohttp.ClientSession(base, headers=headers, timeout=TIMEOUT) as session:
            async with session.post("/api/kernels", json={"name": "python3"}) as answer:
                assert answer.status == 201, await answer.text()
                kernel = (await answer.json())["id"]
            async with session.ws_connect(f"/api/kernels/{kernel}/channels") as socket:
                code = "import os; print(os.environ['FASTGPU_RUN_ID'])"
                assert await printed(socket, code) == f"{notebook}\n"


@contextmanager
def elsewhere(folder: Path, where: SplitResult, token: str) -> Iterator[tuple[str, str]]:
    """A Jupyter server that runs no kernel itself: its address, and its own token."""
    own = secrets.token_hex(16)
    port = free_port()
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": own,
        "GatewayClient.url": f"http://127.0.0.1:{where.port}",
        "GatewayClient.auth_token": token,
        "GatewayClient.headers": json.dumps({"Host": where.netloc}),
    }
    command = [lab_python(), "-m", "jupyter_server", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = os.environ | {"HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        with suppress(httpx.TransportError):
            return httpx.get(f"{base}/api").status_code == 200
        return False

    try:
        until(answers)
        yield base, own
    finally:
        server.terminate()
        server.wait(20)


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
