"""An open volume: looking into it, making folders, moving what is there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from clusters.backends.files import FILE_FLAGS, FOLDER_FLAGS
from clusters.files.names import is_partial, is_text
from clusters.files.refusals import speaking
from portal.lib.errors import Conflict, NotFound

# Names read of one folder; what lies beyond is counted as "more".
MOST_LISTED = 50_000
_OLDEST, _YOUNGEST = 0, 32_503_680_000  # 1970 and 3000: the disk may hold any number
Owner = tuple[int, int]
Parts = tuple[str, ...]


class Kind(StrEnum):
    """What an entry is. Links are never followed; `other` are pipes, sockets, devices."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    OTHER = "other"


class Sort(StrEnum):
    """What a listing is ordered by; folders come first in any case."""

    NAME = "name"
    SIZE = "size"
    MODIFIED = "modified"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder; `size_bytes` is None for all but files."""

    name: str
    kind: Kind
    size_bytes: int | None
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """Some entries of a folder; `total` counts them all, unless `is_cut` at `MOST_LISTED`."""

    entries: Sequence[Entry]
    total: int
    is_cut: bool


class Tree:
    """A volume's open folder; `owner` is whom new files belong to, None: to whom we run as."""

    def __init__(self, root: Path, owner: Owner | None) -> None:
        """Raises FileNotFoundError."""
        self._root = -1
        self._root = os.open(root, FOLDER_FLAGS)
        self.owner = owner

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; may be repeated."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    @contextmanager
    def folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """The open folder at `parts`; with `make`, missing folders on the way are made."""
        fd = os.dup(self._root)
        try:
            for number, part in enumerate(parts, 1):
                with speaking("/".join(parts[:number])):
                    fd = self._step(fd, part, make=make)
            yield fd
        finally:
            os.close(fd)

    def _step(self, fd: int, name: str, *, make: bool) -> int:
        try:
            below = os.open(name, FOLDER_FLAGS, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
            make_folder(fd, name, self.owner, may_exist=True)
            below = os.open(name, FOLDER_FLAGS, dir_fd=fd)
        os.close(fd)
        return below

    def stat(self, parts: Parts) -> os.stat_result:
        """What lies at `parts`, a link itself where it is one. Raises NotFound."""
        if not parts:
            return os.fstat(self._root)
        with self.folder(parts[:-1]) as fd, speaking("/".join(parts)):
            return os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)

    def open_file(self, parts: Parts) -> BinaryIO:
        """Open a plain file for reading. Raises NotFound for everything else."""
        what = "/".join(parts)
        with self.folder(parts[:-1]) as fd:
            return open_plain(fd, parts[-1], what)

    def list(
        self,
        parts: Parts,
        *,
        start: int = 0,
        limit: int = MOST_LISTED,
        sort: Sort = Sort.NAME,
        descending: bool = False,
    ) -> Listing:
        """Entries `[start, start + limit)` of a folder; names that are not UTF-8 are left out."""
        with self.folder(parts) as fd, speaking("/".join(parts)):
            found, is_cut = _names(fd)
            if sort == Sort.NAME:
                found.sort(key=_by_name, reverse=descending)
                found.sort(key=_folders_first)
                page = found[start : start + limit]
                return Listing(_entries(fd, (name for name, _ in page)), len(found), is_cut)
            entries = _entries(fd, (name for name, _ in found))
        entries.sort(key=_by_size if sort == Sort.SIZE else _by_time, reverse=descending)
        entries.sort(key=lambda entry: entry.kind != Kind.FOLDER)
        return Listing(entries[start : start + limit], len(found), is_cut)

    def move(self, source: Parts, target: Parts) -> None:
        """Give what lies at `source` another name or place. Raises NotFound, Conflict.

        A folder cannot be moved into itself.
        """
        with self.folder(source[:-1]) as old, self.folder(target[:-1]) as new:
            with speaking("/".join(source)):
                found = os.stat(source[-1], dir_fd=old, follow_symlinks=False)
            if target[: len(source)] == source:
                raise Conflict("A folder cannot be moved into itself.", fields={"path": "inside"})
            with speaking("/".join(target)):
                rename_new(old, source[-1], new, target[-1], is_folder=stat.S_ISDIR(found.st_mode))


def make_folder(fd: int, name: str, owner: Owner | None, *, may_exist: bool = False) -> None:
    """Make a folder in the open folder `fd`."""
    try:
        os.mkdir(name, 0o755, dir_fd=fd)
    except FileExistsError:
        if not may_exist:
            raise
        return
    if owner is not None:
        made = os.open(name, FOLDER_FLAGS, dir_fd=fd)
        try:
            os.fchown(made, *owner)
        finally:
            os.close(made)


def rename_new(old: int, name: str, new: int, new_name: str, *, is_folder: bool) -> None:
    """Rename where nothing has the new name. Raises FileExistsError."""
    if not is_folder:
        # Unlike a rename, a link never replaces what somebody made there meanwhile.
        os.link(name, new_name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        os.unlink(name, dir_fd=old)
        return
    if is_there(new, new_name):
        raise FileExistsError(errno.EEXIST, new_name)
    # Of what may be made there in between, this replaces an empty folder at most.
    os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)


def is_there(fd: int, name: str) -> bool:
    """Whether anything has this name in the open folder `fd`."""
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def open_plain(fd: int, name: str, what: str) -> BinaryIO:
    """Open a plain file of the open folder `fd`. Raises NotFound for everything else."""
    with speaking(what):
        file = os.open(name, FILE_FLAGS, dir_fd=fd)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotFound(f"{what} is no file.")
    return os.fdopen(file, "rb")


def entry_of(name: str, info: os.stat_result) -> Entry:
    """An entry as it is shown."""
    kind = kind_of(info.st_mode)
    size = info.st_size if kind == Kind.FILE else None
    return Entry(name, kind, size, moment(info.st_mtime))


def kind_of(mode: int) -> Kind:
    """What a mode says it is."""
    for test, kind in (
        (stat.S_ISDIR, Kind.FOLDER),
        (stat.S_ISREG, Kind.FILE),
        (stat.S_ISLNK, Kind.LINK),
    ):
        if test(mode):
            return kind
    return Kind.OTHER


def moment(seconds: float) -> datetime:
    """A time of the disk, which hostile code may have set to anything."""
    return datetime.fromtimestamp(min(max(seconds, _OLDEST), _YOUNGEST), UTC)


def _names(fd: int) -> tuple[list[tuple[str, bool]], bool]:
    """Names of a folder, each with whether it is a folder; and whether there are more."""
    found: list[tuple[str, bool]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if not is_text(entry.name) or is_partial(entry.name):
                continue
            if len(found) >= MOST_LISTED:
                return found, True
            found.append((entry.name, entry.is_dir(follow_symlinks=False)))
    return found, False


def _entries(fd: int, names: Iterator[str]) -> list[Entry]:
    found = []
    for name in names:
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue  # gone while we looked
        found.append(entry_of(name, info))
    return found


def _by_name(found: tuple[str, bool]) -> tuple[str, str]:
    return found[0].casefold(), found[0]


def _folders_first(found: tuple[str, bool]) -> bool:
    return not found[1]


def _by_size(entry: Entry) -> tuple[int, str]:
    return entry.size_bytes or 0, entry.name


def _by_time(entry: Entry) -> tuple[datetime, str]:
    return entry.modified_at, entry.name
