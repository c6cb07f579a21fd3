"""Ports of this machine for the tests' servers.

They lie below the range from which Linux gives ports to outgoing connections: one of those may take
a port of that range before the server does that was told to, or while it is down.
"""

from __future__ import annotations

import os
import random
import socket
from collections import deque

LOWEST, BEHIND = 10_000, 20_000
# Given a moment ago: whoever asked for one may not listen yet.
_given: deque[int] = deque(maxlen=500)
_random = random.SystemRandom()


def free_port() -> int:
    """A port with the two above it free too, now; other processes of a run are given others."""
    share = (BEHIND - LOWEST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lowest = LOWEST + number * share
    while True:
        port = _random.randrange(lowest, lowest + share - 2)
        three = range(port, port + 3)
        if not set(three) & set(_given) and all(map(_is_free, three)):
            _given.extend(three)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
