"""Servers of attempts: where they listen, and asking an attempt for a terminal."""

from __future__ import annotations

import os
from pathlib import Path

from clusters.backends.base import Endpoint
from clusters.backends.local import attempts
from clusters.backends.local.shown import SOCKETS


def endpoint(folder: Path, service: str) -> Endpoint | None:
    """Where `service` of the running attempt in `folder` is to be reached."""
    spec = attempts.read_spec(folder)
    if spec is None or service not in SOCKETS or (service == "lab" and not spec["serves"]):
        return None
    return Endpoint(
        socket=str(folder / "serve" / SOCKETS[service]),
        owner_uid=os.geteuid() if spec["uid"] is None else spec["uid"],
        token=spec["token"],
    )
