"""The workload proxy answers for itself until workloads serve HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.types import Message

from clusters.proxy.asgi import make_application
from clusters.proxy.routes import Routes, Upstream

ROOT = Path(__file__).parents[3]


@pytest.fixture
def routes() -> Routes:
    """An empty table."""
    return Routes()


@pytest.fixture
async def client(routes: Routes) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a proxy over `routes`."""
    transport = httpx.ASGITransport(cast("Any", make_application(routes)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


async def test_healthz_counts_the_routes(client: httpx.AsyncClient, routes: Routes) -> None:
    assert (await client.get("/healthz")).json() == {"routes": 0}
    routes.add("nb-1", Upstream("127.0.0.1", 9))
    assert (await client.get("/healthz")).json() == {"routes": 1}


async def test_healthz_is_read_only(client: httpx.AsyncClient) -> None:
    assert (await client.post("/healthz")).status_code == 405


@pytest.mark.parametrize("path", ["/", "/healthz", "/lab/tree"])
async def test_an_unknown_workload_has_its_own_page(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Host": "nb-1.apps.localhost:8001"})
    assert answer.status_code == 404
    assert "No workload by this name is running" in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "apps.localhost", "a.b.apps.localhost", "x", ""])
async def test_other_hosts_have_nothing(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/", headers={"Host": host})
    assert answer.status_code == 404
    assert answer.text == "There is nothing here.\n"


async def test_a_known_workload_is_honest_about_what_is_missing(
    client: httpx.AsyncClient, routes: Routes
) -> None:
    routes.add("nb-1", Upstream("127.0.0.1", 9))
    answer = await client.get("/", headers={"Host": "NB-1.apps.localhost"})
    assert answer.status_code == 501


async def test_a_socket_is_refused(routes: Routes) -> None:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"host", b"nb-1.apps.localhost")]
    scope = {"type": "websocket", "path": "/", "headers": headers}
    await make_application(routes)(scope, receive, send)
    assert [message["type"] for message in said] == ["websocket.close"]


def test_routes_come_and_go(routes: Routes) -> None:
    routes.add("nb-1", Upstream("127.0.0.1", 1))
    routes.add("NB-1", Upstream("127.0.0.1", 2))
    assert routes.get("nb-1") == Upstream("127.0.0.1", 2)
    routes.remove("nb-1")
    routes.remove("nb-1")
    assert routes.get("nb-1") is None
    assert len(routes) == 0


def test_it_needs_no_django() -> None:
    code = "import clusters.proxy.asgi, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
