"""Connecting to what an attempt serves, in a folder that hostile code writes.

A path there may lead anywhere by the time it is used: to the portal's own sockets, to another
team's server. So the socket is taken by its inode, out of an open folder and without following a
link; it must be a socket, and the attempt's uid must have made it. What is connected to is that
inode, by a path below /proc/self/fd, which no one else can change.

The standard library alone: the proxy imports this, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from clusters.backends.base import Endpoint

FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SOCKET_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotItsSocket(OSError):
    """What lies there is no socket, or none that the attempt made."""


@contextmanager
def dial(endpoint: Endpoint) -> Iterator[str]:
    """A path to connect to, as long as the block lasts: any library that takes a path may do it.

    Connections that were made go on after the block. Nothing here waits, so that it may be used
    in coroutines as it is. Raises FileNotFoundError where nothing is there, NotItsSocket where
    it must not be connected to, other OSErrors when the machine has no file to open left.
    """
    fd = _open(endpoint)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _open(endpoint: Endpoint) -> int:
    """The socket's inode, held."""
    place, _, name = endpoint.socket.rpartition("/")
    try:
        folder = os.open(place or "/", FOLDER_FLAGS)
    except NotADirectoryError as error:
        # That is also what the kernel says of a link.
        raise NotItsSocket(f"{place} is no folder") from error
    try:
        fd = os.open(name, SOCKET_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)
    # Looked at only now that it is held: it cannot be exchanged between the look and the use.
    info = os.fstat(fd)
    if stat.S_ISSOCK(info.st_mode) and endpoint.owner_uid in (-1, info.st_uid):
        return fd
    os.close(fd)
    raise NotItsSocket(f"{endpoint.socket} is no socket of uid {endpoint.owner_uid}")
