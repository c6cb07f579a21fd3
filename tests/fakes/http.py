"""What the tests' own HTTP servers have in common."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler


class Answering(BaseHTTPRequestHandler):
    """Answers what it is told to, over TCP or a unix socket, and logs nothing."""

    # Whole answers: some clients leave once they have read the head.
    wbufsize = -1

    def answer(self) -> None:
        """One request, of the kind `command`."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """As all."""
        self.answer()

    def do_POST(self) -> None:
        """As all."""
        self.answer()

    def do_DELETE(self) -> None:
        """As all."""
        self.answer()

    def say(self, status: int, body: bytes) -> None:
        """Answer with JSON that is bytes already."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def say_document(self, status: int, document: object) -> None:
        """Answer with a document."""
        self.say(status, json.dumps(document).encode())

    def address_string(self) -> str:
        """A unix socket's client has none."""
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
