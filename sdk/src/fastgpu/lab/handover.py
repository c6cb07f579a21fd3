"""How a server that was started ahead becomes somebody's: FastGPU's side tells it, once.

The server has a socket, whose number is in FASTGPU_STANDBY, and says `ready` there when it
answers. When it is claimed it is told `claim N`; by then its workspace, its checkpoints and its
GPUs are there, and FASTGPU_STANDBY_ENVIRON names a file with the environment variables that what
it starts from now on shall have. It takes them as its own, limits the files that it writes to N
bytes (-1: any size), says `claimed`, and that was all.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Mapping
from pathlib import Path

READY, CLAIM, CLAIMED = b"ready\n", b"claim", b"claimed\n"


def read_environment(path: Path) -> dict[str, str]:
    """Variables as the kernel writes them in /proc/<pid>/environ. Raises FileNotFoundError."""
    pairs = (os.fsdecode(word).partition("=") for word in path.read_bytes().split(b"\0") if word)
    return {key: value for key, _, value in pairs}


class Handover:
    """The server's end of the socket."""

    def __init__(self, started_with: Mapping[str, str]) -> None:
        """`started_with` are the variables the process began with."""
        self._started_with = dict(started_with)
        self._socket = socket.socket(fileno=int(started_with["FASTGPU_STANDBY"]))
        self._socket.set_inheritable(False)
        self._variables = Path(started_with["FASTGPU_STANDBY_ENVIRON"])

    def fileno(self) -> int:
        """For an event loop to watch."""
        return self._socket.fileno()

    def say_ready(self) -> None:
        """The server answers."""
        self._socket.sendall(READY)

    def take(self) -> bool:
        """Take what was handed over; False when there is nobody to hand over any more.

        What the process set itself, since it began, stays.
        """
        word, _, size = self._socket.recv(64).partition(b" ")
        if word != CLAIM:
            return False
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
        own = {k: v for k, v in os.environ.items() if self._started_with.get(k) != v}
        given = read_environment(self._variables)
        os.environ.clear()
        os.environ.update(given | own)
        return True

    def say_claimed(self) -> None:
        """All that is asked for from now on is the new owner's."""
        self._socket.sendall(CLAIMED)
        self._socket.close()
