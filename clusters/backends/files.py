"""Reading what an attempt left behind, without being led out of its home.

The content of a home is written by hostile code that may still be running: every step is
taken from an open directory by name, without following links, and only plain files are opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from clusters.backends.base import LogChunk, OutputFile

MAX_LISTED = 10_000
MAX_DEPTH = 64
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for its other end.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def list_files(home: Path) -> list[OutputFile]:
    """Plain files below `home`, sorted by path: at most `MAX_LISTED`, `MAX_DEPTH` folders deep.

    Names that are not UTF-8 are left out: nothing downstream could name them.
    """
    try:
        top = os.open(home, FOLDER_FLAGS)
    except FileNotFoundError:
        return []
    found: list[OutputFile] = []
    for file in _walk(top, "", MAX_DEPTH):
        found.append(file)
        if len(found) >= MAX_LISTED:
            break
    return sorted(found, key=lambda file: file.path)


def _walk(fd: int, prefix: str, depth: int) -> Iterator[OutputFile]:
    """Files below the open folder `fd`, which is closed at the end."""
    try:
        with os.scandir(fd) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            if not _is_text(name):
                continue
            try:
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode) and depth > 0:
                    below = os.open(name, FOLDER_FLAGS, dir_fd=fd)
                    yield from _walk(below, f"{prefix}{name}/", depth - 1)
            except OSError:
                # Gone or changed while we looked: it is not there to be listed.
                continue
            if stat.S_ISREG(info.st_mode):
                modified = datetime.fromtimestamp(info.st_mtime, UTC)
                yield OutputFile(prefix + name, info.st_size, modified)
    finally:
        os.close(fd)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def open_folder(home: Path, path: str) -> int:
    """A descriptor of the folder `path` below `home`, "" for that itself. FileNotFoundError."""
    parts = path.split("/") if path else []
    if "\0" in path or not _is_text(path) or any(part in ("", ".", "..") for part in parts):
        raise FileNotFoundError(path)
    try:
        folder = os.open(home, FOLDER_FLAGS)
        for part in parts:
            folder = _step(folder, part)
    except OSError as error:
        raise FileNotFoundError(path) from error
    return folder


def open_file(home: Path, path: str) -> BinaryIO:
    """Open the plain file `path` below `home`. FileNotFoundError for everything else."""
    above, _, name = path.rpartition("/")
    if "\0" in name or not _is_text(name) or name in ("", ".", "..") or path.startswith("/"):
        raise FileNotFoundError(path)
    folder = open_folder(home, above)
    try:
        fd = os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError as error:
        raise FileNotFoundError(path) from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return os.fdopen(fd, "rb")


def _step(folder: int, name: str) -> int:
    try:
        return os.open(name, FOLDER_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def read_log(log: Path, *, offset: int, limit: int, ended: bool) -> LogChunk:
    """Bytes of the log from `offset`; `ended` must have been observed before this call."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        data, size = b"", 0
    reached = offset + len(data)
    return LogChunk(data, offset, reached, complete=ended and reached >= size)
