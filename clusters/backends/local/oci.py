"""The Docker API over its unix socket, as much of it as attempts need.

Plain HTTP and the standard library alone, because the supervisor imports it. docker speaks this
version since 20.10, podman since 3.0.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "v1.41"
TIMEOUT_SECONDS = 60.0
"""For one answer: a start may have to wait for a busy disk."""
AGAIN_SECONDS = 0.1


class OciError(Exception):
    """The service refused: its HTTP `status` and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class OciAway(Exception):
    """The service does not answer, or not as an engine does."""


class OciService:
    """One service. A connection for each call, so that it may be restarted at any time."""

    def __init__(self, path: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout = timeout
        self.is_podman = False
        """Known once it has answered."""

    def version(self) -> dict[str, Any]:
        """Who answers. Raises OciAway, as all of these do, and OciError."""
        return self._call("GET", "/version")

    def image_id(self, name: str) -> str:
        """The id of an image that is there. OciError 404 for one that is not: none is pulled."""
        return str(self._call("GET", f"/images/{quote(name)}/json")["Id"])

    def create(self, name: str, body: dict[str, Any]) -> None:
        """Make the container. OciError when the name is taken: docker's 409, podman's 500."""
        self._call("POST", f"/containers/create?name={quote(name)}", body)

    def start(self, name: str) -> None:
        """Start it; started already is as good."""
        self._call("POST", f"/containers/{quote(name)}/start")

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of the container. OciError 404 when it knows none."""
        return self._call("GET", f"/containers/{quote(name)}/json")

    def remove(self, name: str, labels: dict[str, str], *, within_seconds: float = 0.0) -> None:
        """Kill and remove it; gone already is as good. One without these labels is left alone.

        An engine that has not heard yet that it has ended may refuse (podman: "container not
        running"): it is asked again, for `within_seconds`.
        """
        deadline = time.monotonic() + within_seconds
        while True:
            try:
                if carries(self.inspect(name), labels):
                    self._call("DELETE", f"/containers/{quote(name)}?force=true&v=true")
                break
            except OciError as error:
                if error.status == 404:
                    break
                if time.monotonic() >= deadline:
                    raise
            time.sleep(AGAIN_SECONDS)

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = _Connection(self._path, self._timeout)
        data = None if body is None else json.dumps(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, f"/{VERSION}{path}", data, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.is_podman = answer.getheader("Libpod-API-Version") is not None
        except (OSError, http.client.HTTPException) as error:
            raise OciAway(f"{self._path} does not answer: {error}") from error
        finally:
            connection.close()
        document = _document(content)
        if answer.status >= 400:
            words = document.get("message") or f"HTTP {answer.status}"
            raise OciError(answer.status, str(words))
        return document


def carries(facts: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether the inspected container has these labels."""
    return labels.items() <= (facts["Config"].get("Labels") or {}).items()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content or b"{}")
    except ValueError as error:
        raise OciAway(f"not an engine's answer: {content[:200]!r}") from error
    return document if isinstance(document, dict) else {}
