"""Asks the servers of running notebooks what they do. They are hostile: little is believed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from django.utils.dateparse import parse_datetime

from clusters.backends.base import Endpoint
from clusters.backends.dial import dial

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 3.0
MOST_BYTES = 1 << 20
MOST_KERNELS = 1000


class Unreadable(Exception):
    """The server did not answer, or not what such a server answers; the message is for people."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a notebook's server says of itself.

    `cpu_seconds` is what its sandbox has used since it began, `gpu_percent` the mean it measured of
    its GPUs, None where it cannot.
    """

    kernels: int
    kernels_busy: int
    used_at: datetime | None
    cpu_seconds: float | None
    gpu_percent: float | None


def read_server(endpoint: Endpoint) -> ServerState:
    """Kernels, terminals and use, in three requests. Raises Unreadable."""
    kernels = _list(_ask(endpoint, "/api/kernels"))
    terminals = _list(_ask(endpoint, "/api/terminals"))
    use = _ask(endpoint, "/fastgpu/use")
    times = [_time(one.get("last_activity")) for one in (*kernels, *terminals)]
    return ServerState(
        kernels=len(kernels),
        kernels_busy=sum(one.get("execution_state") not in ("idle", "starting") for one in kernels),
        used_at=max(filter(None, times), default=None),
        cpu_seconds=_number(use, "cpu_seconds"),
        gpu_percent=_number(use, "gpu_percent", most=100.0),
    )


def _ask(endpoint: Endpoint, path: str) -> Any:
    headers = {"Authorization": f"token {endpoint.token}", "Host": "localhost"}
    try:
        if endpoint.socket:
            with dial(endpoint) as socket, _transport(socket) as transport:
                return _read(transport, f"http://localhost{path}", headers)
        with _transport() as transport:
            return _read(transport, f"{endpoint.origin}{path}", headers)
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise Unreadable(f"Its server did not answer {path} ({type(error).__name__})") from error


def _transport(socket: str | None = None) -> httpx.HTTPTransport:
    # Nothing is encrypted here, and reading the certificates of all the world takes 20 ms.
    return httpx.HTTPTransport(verify=False, uds=socket)


def _read(transport: httpx.HTTPTransport, url: str, headers: Mapping[str, str]) -> Any:
    """The JSON at `url`, if it is small and comes in time; no redirect is followed."""
    with (
        httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code != 200:
            raise Unreadable(f"Its server answers {answer.status_code}")
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise Unreadable("Its server answers without an end")
        return httpx.Response(200, content=bytes(body)).json()


def _list(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or len(found) > MOST_KERNELS:
        raise Unreadable("Its server answers something else than Jupyter would")
    return [one for one in found if isinstance(one, dict)]


def _number(found: Any, name: str, *, most: float = 1e15) -> float | None:
    value = found.get(name) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value)


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    found = parse_datetime(text)
    return found if found is not None and found.tzinfo is not None else None
