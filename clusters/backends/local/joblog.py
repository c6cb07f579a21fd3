"""The log of an attempt: what its processes print, as it comes, up to a ceiling."""

from __future__ import annotations

import os


class JobLog:
    """Appends to a file of the current folder; past its room, one notice and no more."""

    def __init__(self, limit_bytes: int, name: str = "log") -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._name = name
        self._fd = os.open(name, flags, 0o600)
        self._limit = limit_bytes
        self._room = limit_bytes
        self._full = False
        self.problem = ""

    def append(self, data: bytes) -> None:
        """Write what there is room for; a full disk drops too, and never stops the reading."""
        if self._full:
            return
        kept = data[: self._room]
        self._room -= len(kept)
        if len(kept) < len(data):
            self._full = True
            kept += (
                f"\n[FastGPU: this log reached its limit of {self._limit} bytes; "
                "further output is dropped]\n"
            ).encode()
        try:
            while kept:
                kept = kept[os.write(self._fd, kept) :]
        except OSError as error:
            self._full = True
            self.problem = f"the log could not be written: {error.strerror}"

    def tail(self, size: int) -> str:
        """The last `size` bytes as text."""
        end = os.fstat(self._fd).st_size
        fd = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, size, max(0, end - size)).decode(errors="replace").strip()
        finally:
            os.close(fd)

    def close(self) -> None:
        """Write no more."""
        os.close(self._fd)
