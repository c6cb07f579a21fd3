"""Deleting trees of any size and depth, some entries at a time."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.files import FOLDER_FLAGS
from clusters.files.names import partial_name

# So many folders are open at once; what lies deeper is first moved up.
MOST_OPEN = 64
_CLOSED_TO_US = os.geteuid() != 0
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Removal:
    """Work still allowed, and what was done: `freed_bytes` on the disk, `removed` entries.

    `is_whole` turns False where something is left for another time.
    """

    most: int
    until: float
    removed: int = 0
    moved: int = 0
    freed_bytes: int = 0
    is_whole: bool = True

    @classmethod
    def of(cls, *, most: int = 20_000, seconds: float = 2.0) -> Removal:
        """So much work and no more."""
        return cls(most, time.monotonic() + seconds)

    @property
    def is_spent(self) -> bool:
        """Whether it has to stop here."""
        return self.removed >= self.most or time.monotonic() > self.until

    def count(self, info: os.stat_result) -> None:
        """Note an entry that is gone."""
        self.removed += 1
        if info.st_nlink == 1 or stat.S_ISDIR(info.st_mode):
            self.freed_bytes += info.st_blocks * 512


def remove(fd: int, name: str, removal: Removal) -> None:
    """Delete what has this name in the open folder `fd`, links themselves and not what they name.

    Stops when `removal` is spent; calling again goes on. Nothing there is no error.
    """
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=fd)
            removal.count(info)
            return
        _remove_folder(fd, name, info, removal)
    except FileNotFoundError:
        return


def erase(path: Path) -> None:
    """Delete a folder of ours whole, whatever is in it. Nothing there is no error."""
    parent = os.open(path.parent, FOLDER_FLAGS)
    try:
        while True:
            removal = Removal.of(seconds=60.0)
            remove(parent, path.name, removal)
            if removal.is_whole:
                return
    finally:
        os.close(parent)


def _remove_folder(fd: int, name: str, info: os.stat_result, removal: Removal) -> None:
    while not removal.is_spent:
        before = removal.removed + removal.moved
        top = _open(fd, name)
        try:
            _empty(top, top, removal, depth=1)
        finally:
            os.close(top)
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError:
            # Something was moved up, was made meanwhile, or is left because the work is spent.
            if not removal.is_whole:
                return
            if removal.removed + removal.moved == before:
                raise
            continue
        removal.count(info)
        return
    removal.is_whole = False


def _empty(top: int, fd: int, removal: Removal, *, depth: int) -> None:
    """Delete what is in the open folder `fd`, which lies `depth` folders below that of `top`."""
    for name in _names(fd, removal.most - removal.removed):
        if removal.is_spent:
            removal.is_whole = False
            return
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                os.unlink(name, dir_fd=fd)
            elif depth >= MOST_OPEN:
                os.rename(name, partial_name(), src_dir_fd=fd, dst_dir_fd=top)
                removal.moved += 1
                continue
            else:
                _empty_below(top, fd, name, removal, depth=depth)
                os.rmdir(name, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it changed while we looked; the next round sees what is there
        except OSError:
            if not removal.is_whole:
                return
            continue
        removal.count(info)


def _empty_below(top: int, fd: int, name: str, removal: Removal, *, depth: int) -> None:
    below = _open(fd, name)
    try:
        _empty(top, below, removal, depth=depth + 1)
    finally:
        os.close(below)


def _names(fd: int, most: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for _, entry in zip(range(most + 1), entries, strict=False)]


def _open(fd: int, name: str) -> int:
    """Open a folder to be emptied; where its own permissions forbid that, they are changed."""
    try:
        opened = os.open(name, FOLDER_FLAGS, dir_fd=fd)
    except PermissionError:
        path_only = os.open(name, _PATH_ONLY, dir_fd=fd)
        try:
            if not stat.S_ISDIR(os.fstat(path_only).st_mode):
                raise
            # By the open folder itself: a name could be a link by now.
            Path(f"/proc/self/fd/{path_only}").chmod(0o700)
        finally:
            os.close(path_only)
        opened = os.open(name, FOLDER_FLAGS, dir_fd=fd)
    if _CLOSED_TO_US and os.fstat(opened).st_mode & 0o300 != 0o300:
        os.fchmod(opened, 0o700)
    return opened
