"""A browser at a terminal, as far as the socket goes."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidMessage

from clusters.backends.base import Endpoint
from clusters.backends.dial import dial

PATIENCE_SECONDS = 60.0


class Browser:
    """Types, and reads what the shell says."""

    def __init__(self, connection: websockets.sync.client.ClientConnection) -> None:
        self.connection = connection
        self.seen = ""

    def type(self, text: str) -> None:
        """Send it as typed."""
        self.connection.send(json.dumps(["stdin", text]))

    def resize(self, rows: int, columns: int) -> None:
        """As when a window changes."""
        self.connection.send(json.dumps(["set_size", rows, columns, 0, 0]))

    def sees(self, words: str) -> str:
        """Wait until `words` were said since the last call; all that was said up to them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{words!r} never came: {self.seen!r}"
            kind, *rest = json.loads(self.connection.recv(timeout=left))
            self.seen += rest[0] if kind == "stdout" else f"<{kind}>"
        said, _, self.seen = self.seen.partition(words)
        return said

    def asks(self, command: str) -> str:
        """What a command prints."""
        mark = secrets.token_hex(4)
        # The quotes, because what is typed is printed, too.
        self.type(f"echo begin''-{mark}; {command}; echo end''-{mark}\r")
        self.sees(f"begin-{mark}\r\n")
        return self.sees(f"end-{mark}\r\n").replace("\r\n", "\n")


@contextmanager
def looking(endpoint: Endpoint, *, token: str | None = None) -> Iterator[Browser]:
    """A browser at the terminal, once somebody listens there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    given = endpoint.token if token is None else token
    headers = {"Authorization": f"token {given}"}
    while True:
        try:
            connection = _connected(endpoint, headers)
            break
        except (FileNotFoundError, ConnectionError, ConnectionClosed, InvalidMessage):
            # Nobody is there yet, or who was there is just dying.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    with connection:
        yield Browser(connection)


def _connected(
    endpoint: Endpoint, headers: dict[str, str]
) -> websockets.sync.client.ClientConnection:
    path = "/terminals/websocket/1"
    if not endpoint.socket:
        url = f"ws://{endpoint.host}:{endpoint.port}{path}"
        return websockets.sync.client.connect(url, additional_headers=headers)
    with dial(endpoint) as socket:
        return websockets.sync.client.unix_connect(
            socket, f"ws://lab{path}", additional_headers=headers
        )
