"""How much of the disk a volume takes, and what uploads that were cut off have left in it."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field

from clusters.backends.files import FOLDER_FLAGS
from clusters.files.names import is_partial
from clusters.files.removal import Removal, remove
from clusters.files.tree import Tree

# Each takes two open files.
MOST_DEPTH = 100
# Nothing was written to it for so long: whoever did is gone.
LEFTOVER_SECONDS = 3600.0
_LOOK_EVERY = 256


@dataclass
class Measure:
    """Bytes on the disk; `is_whole` is False where time or depth ended before the files did, and
    `used_bytes` is then only the least it can be.
    """

    until: float
    used_bytes: int = 0
    entries: int = 0
    is_whole: bool = True
    cleared: int = 0
    linked: set[int] = field(default_factory=set)

    @property
    def is_spent(self) -> bool:
        """Whether it has to stop here."""
        return self.entries % _LOOK_EVERY == 0 and time.monotonic() > self.until

    def count(self, name: str, info: os.stat_result) -> None:
        """Add an entry; a file of several names once."""
        self.entries += 1
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            if info.st_ino in self.linked:
                return
            self.linked.add(info.st_ino)
        size = info.st_blocks * 512
        if is_partial(name) and stat.S_ISREG(info.st_mode):
            size = max(size, info.st_size)  # an upload is as long as what is set aside for it
        self.used_bytes += size


def measure(tree: Tree, *, seconds: float) -> Measure:
    """Add up all of the volume for so long at most, and clear what was left behind."""
    found = Measure(time.monotonic() + seconds)
    with tree.folder(()) as fd:
        _add(fd, found, MOST_DEPTH)
    return found


def _add(fd: int, found: Measure, depth: int) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            if found.is_spent:
                found.is_whole = False
                return
            try:
                info = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                if is_partial(entry.name) and _is_left_over(info):
                    remove(fd, entry.name, Removal.of())
                    found.cleared += 1
                    continue
                found.count(entry.name, info)
                if stat.S_ISDIR(info.st_mode):
                    _add_below(fd, entry.name, found, depth)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone or changed while we looked
            except OSError:
                found.is_whole = False  # closed to us


def _add_below(fd: int, name: str, found: Measure, depth: int) -> None:
    if depth == 0:
        found.is_whole = False
        return
    below = os.open(name, FOLDER_FLAGS, dir_fd=fd)
    try:
        _add(below, found, depth - 1)
    finally:
        os.close(below)


def _is_left_over(info: os.stat_result) -> bool:
    return time.time() - info.st_mtime > LEFTOVER_SECONDS
