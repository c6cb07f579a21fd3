"""The portal as the proxy knows it: what it is told, and when it is away."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.clusters.proxy.process import TOKEN
from tests.fakes.http import Answering


@dataclass(frozen=True)
class Told:
    """One thing it was told."""

    path: str
    body: dict[str, Any]


@dataclass
class FakePortal:
    """Keeps what it is told; answers `status` with `body`."""

    port: int
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def failures(self, app_id: int) -> list[str]:
        """What it was told of one app, in order; "" is that it answers."""
        path = f"/api/v1/proxy/apps/{app_id}/answer"
        return [told.body["failure"] for told in list(self.told) if told.path == path]


@contextmanager
def fake_portal(portal: FakePortal) -> Iterator[FakePortal]:
    """It listens for the length of the block."""

    class Handler(Answering):
        def answer(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
            portal.told.append(Told(self.path, body))
            self.say_document(portal.status if allowed else 401, portal.body)

    socketserver.TCPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", portal.port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
