"""A folder as a zip file, written as it is read.

Files are stored, not compressed: what fills volumes is compressed already, and a processor of the
portal serves many. Python's own `zipfile` writes to anything that takes bytes.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from clusters.backends.files import FILE_FLAGS
from clusters.files.tree import Parts, Tree, moment
from clusters.files.walk import MOST_ENTRIES, walk

PIECE_BYTES = 256 * 1024
_YEARS = (1980, 2107)  # what a zip file can say


class _Pipe(io.RawIOBase):
    """Takes what `zipfile` writes; has no place to seek to, so sizes follow the data."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any, /) -> int:
        self._pieces.append(bytes(data))
        self._size += len(data)
        return len(data)

    def full(self, enough: int = PIECE_BYTES) -> Iterator[bytes]:
        """What was written, once it is enough for a piece."""
        if self._size >= enough:
            yield b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0


def zip_pieces(
    tree: Tree, folder: Parts, names: Sequence[str] | None
) -> Generator[bytes, None, None]:
    """The zip of a folder, or of `names` in it, piece by piece; closes `tree` at its end.

    Links, pipes and sockets are left out; so is what cannot be read, or goes away meanwhile. A file
    that grows is taken as long as it was.
    """
    pipe = _Pipe()
    with tree, zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for path, fd, info in islice(walk(tree, folder, names), MOST_ENTRIES):
            member = _member(path, info)
            if stat.S_ISDIR(info.st_mode):
                archive.writestr(member, b"")
            elif stat.S_ISREG(info.st_mode):
                yield from _file_pieces(archive, pipe, member, fd, path[-1])
            yield from pipe.full()
    yield from pipe.full(1)


def _file_pieces(
    archive: zipfile.ZipFile, pipe: _Pipe, member: zipfile.ZipInfo, fd: int, name: str
) -> Iterator[bytes]:
    try:
        file = os.open(name, FILE_FLAGS, dir_fd=fd)
    except OSError:
        return
    try:
        left = os.fstat(file).st_size if stat.S_ISREG(os.fstat(file).st_mode) else 0
        member.file_size = left  # says whether the entry needs 64-bit sizes
        with archive.open(member, "w") as target:
            while left > 0 and (data := os.read(file, min(left, PIECE_BYTES))):
                left -= len(data)
                target.write(data)
                yield from pipe.full()
    finally:
        os.close(file)


def _member(path: Parts, info: os.stat_result) -> zipfile.ZipInfo:
    at = moment(info.st_mtime)
    year = min(max(at.year, _YEARS[0]), _YEARS[1])
    is_folder = stat.S_ISDIR(info.st_mode)
    member = zipfile.ZipInfo(
        "/".join(path) + ("/" if is_folder else ""),
        (year, at.month, at.day, at.hour, at.minute, at.second),
    )
    member.external_attr = info.st_mode << 16 | (0x10 if is_folder else 0)
    return member
