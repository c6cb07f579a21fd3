"""For tests that change rows: the proxy, servers in a thread, and plain blocking ways to ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from accounts.models import User
from clusters.choices import Service
from clusters.models import App
from tests.clusters.proxy.lab import endpoint_at
from tests.clusters.proxy.process import Proxy, wait_for
from tests.clusters.proxy.rows import Ground, serve, sign_in
from tests.clusters.proxy.servers import Seen, good_server

NAVIGATION = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}


@contextmanager
def server_in_thread(socket: Path) -> Iterator[Seen]:
    """The server that behaves, beside a test that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    held = AsyncExitStack()

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    try:
        yield do(held.enter_async_context(good_server(socket)))
    finally:
        do(held.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Desk:
    """Makes apps that the one server serves, and asks for them."""

    proxy: Proxy
    ground: Ground
    socket: Path
    seen: Seen
    made: list[App] = field(default_factory=list)

    def app(
        self, *, owner: User | None = None, service: Service = Service.LAB, state: str = "ready"
    ) -> App:
        """Something new that is served; the proxy knows it."""
        app = serve(
            self.ground, endpoint_at(self.socket), service=service, state=state, owner=owner
        )
        self.made.append(app)
        self.wait_known(app)
        return app

    def wait_known(self, app: App) -> None:
        """Until the proxy has a route for it."""
        wait_for(lambda: app.name in self.proxy.connections())

    def ask(
        self,
        app: App | str,
        path: str = "/echo",
        *,
        secret: str = "",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        cookie: str = "fastgpu",
    ) -> httpx.Response:
        """One request, whose redirect is not followed."""
        name = app if isinstance(app, str) else app.name
        cookies = {"Cookie": f"{cookie}={secret}"} if secret else {}
        return httpx.request(
            method,
            self.proxy.url + path,
            headers={"Host": self.proxy.host(name)} | cookies | (headers or {}),
            timeout=20,
            # Else a store of certificates is read for each.
            verify=False,
        )

    def open(self, app: App, path: str = "/echo", **options: Any) -> httpx.Response:
        """A person goes there in a tab."""
        headers = NAVIGATION | options.pop("headers", {})
        return self.ask(app, path, headers=headers, **options)

    def signed_in(self, app: App, user: User | None = None, **options: Any) -> str:
        """The secret of a cookie that lets somebody (alice) in."""
        return sign_in(app, user or self.ground.alice, **options)

    @contextmanager
    def connect(
        self, app: App, secret: str, path: str = "/socket", **options: Any
    ) -> Iterator[ClientConnection]:
        """A WebSocket of the app's own page at `path`, which has heard the server's first word."""
        options.setdefault("origin", self.proxy.origin(app.name))
        with connect(
            f"ws://{self.proxy.host(app.name)}{path}",
            address=("127.0.0.1", self.proxy.port),
            additional_headers={"Cookie": f"fastgpu={secret}"},
            **options,
        ) as socket:
            assert socket.recv(timeout=30) == "early"
            yield socket
