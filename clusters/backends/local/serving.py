"""Servers of attempts: where they listen, and asking an attempt for a terminal."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from clusters.backends.base import BackendError, Endpoint
from clusters.backends.local import attempts, tools
from clusters.backends.local.shown import SOCKETS

KNOCK_SECONDS = 10.0


def endpoint(folder: Path, service: str) -> Endpoint | None:
    """Where `service` of the running attempt in `folder` is to be reached."""
    spec = attempts.read_spec(folder)
    if spec is None or service not in SOCKETS or (service != "terminal" and not spec["serves"]):
        return None
    return Endpoint(
        socket=str(folder / "serve" / SOCKETS[service]),
        owner_uid=os.geteuid() if spec["uid"] is None else spec["uid"],
        token=spec["token"],
    )


def open_terminal(folder: Path) -> None:
    """Knock at the door of the running attempt in `folder`: what waits there starts the server.

    Raises BackendError where nothing waits: there are no tools, or the attempt killed it.
    """
    spec = attempts.read_spec(folder)
    if spec is None or not spec["has_door"]:
        raise BackendError(
            "A terminal needs the prepared environment `tools`, built before the attempt began: "
            "`manage.py build_environments tools`."
        )
    # The folder is the portal's alone, and inside it is read-only.
    deadline = time.monotonic() + KNOCK_SECONDS
    while not _knock(folder / "inside" / tools.DOOR):
        if time.monotonic() > deadline:
            raise BackendError("What opens terminals in this attempt is gone: something killed it.")
        time.sleep(0.02)


def _knock(door: Path) -> bool:
    """Whether somebody was at the door. It may be on its way back there."""
    try:
        fd = os.open(door, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    try:
        os.write(fd, f"{tools.WORD}\n".encode())
    except (BrokenPipeError, BlockingIOError):
        return False
    finally:
        os.close(fd)
    return True
