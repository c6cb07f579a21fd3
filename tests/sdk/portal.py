"""A tiny HTTP server that stands where the portal would."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TinyPortal:
    """Takes samples once it is opened; before that its port refuses. `status` is its answer."""

    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.beats: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closes_connections = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(), False)
        self._server.daemon_threads = True
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def open(self) -> None:
        """Listen."""
        self._server.server_activate()
        self._thread.start()

    def close(self) -> None:
        """End."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def wait(self, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until `is_so`; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"it never came to be; {len(self.beats)} beats"
            time.sleep(0.02)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                portal.headers.append({**dict(self.headers), "path": self.path})
                portal.beats.append(json.loads(body))
                self.send_response(portal.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                self.close_connection = portal.closes_connections

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler
