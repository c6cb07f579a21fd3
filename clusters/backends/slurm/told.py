"""What files say that attempts write: hostile, so only plain ones of their user, up to a bound."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass

from clusters.backends import files

MAX_BYTES = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a server listens: a port that needs no root, None where nothing of use was said.

    `word` is the one it was given by who asked last, `is_new` whether it began for that one.
    """

    port: int | None = None
    word: str = ""
    is_new: bool = False


def open_plain(folder: int, name: str, uid: int) -> int:
    """Open a plain file of that user's; FileNotFoundError for everything else."""
    try:
        fd = os.open(name, files.FILE_FLAGS, dir_fd=folder)
    except OSError as error:
        raise FileNotFoundError(name) from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
        os.close(fd)
        raise FileNotFoundError(name)
    return fd


def numbers(folder: int, name: str, uid: int, count: int) -> list[float] | None:
    """So many numbers, none of them nonsense; else None."""
    try:
        fd = open_plain(folder, name, uid)
    except FileNotFoundError:
        return None
    try:
        words = os.read(fd, MAX_BYTES).split()
        found = [float(word) for word in words]
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    return found if len(found) == count and all(0 <= one < 1e11 for one in found) else None


def answer(folder: int, name: str, uid: int) -> Answer:
    """What a server says of itself. FileNotFoundError where there is no such file."""
    fd = open_plain(folder, name, uid)
    try:
        text = os.read(fd, MAX_BYTES + 1)
        said = json.loads(text) if len(text) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return Answer()
    finally:
        os.close(fd)
    if not isinstance(said, dict):
        return Answer()
    port, word = said.get("port"), said.get("word")
    return Answer(
        port if isinstance(port, int) and 1024 <= port <= 65_535 else None,
        word if isinstance(word, str) else "",
        said.get("is_new") is True,
    )


def touched(folder: int, name: str, uid: int) -> float | None:
    """When it was last changed, in seconds since the epoch."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return info.st_mtime if info.st_uid == uid else None
