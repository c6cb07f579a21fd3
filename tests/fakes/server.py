"""A notebook's server for tests: what it answers is what the test says."""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from clusters.backends.base import Endpoint
from tests.fakes.http import Answering

TOKEN = "token-of-the-fake"


class FakeServer:
    """Answers on a unix socket as Jupyter's server and our extension would."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.kernels: Any = []
        self.terminals: Any = []
        self.use: Any = {"cpu_seconds": 1.0, "gpu_percent": None}
        self.status = 200
        self.asked: list[str] = []
        outer = self

        class Handler(Answering):
            def answer(self) -> None:
                outer.asked.append(self.path)
                allowed = self.headers["Authorization"] == f"token {TOKEN}"
                found = {
                    "/api/kernels": outer.kernels,
                    "/api/terminals": outer.terminals,
                    "/fastgpu/use": outer.use,
                }
                self.say_document(outer.status if allowed else 403, found.get(self.path, {}))

        self._server = socketserver.ThreadingUnixStreamServer(str(socket), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, as an engine would tell."""
        return Endpoint(socket=str(self.socket), owner_uid=os.geteuid(), token=TOKEN)

    def kernel(self, state: str, at: datetime) -> None:
        """One kernel in this state, last used then."""
        self.kernels = [
            {"id": "k", "execution_state": state, "last_activity": at.isoformat(), "connections": 1}
        ]

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self.socket.unlink(missing_ok=True)


@contextmanager
def fake_server(folder: Path) -> Iterator[FakeServer]:
    """One for the length of the block."""
    server = FakeServer(folder / "lab.sock")
    try:
        yield server
    finally:
        server.close()
