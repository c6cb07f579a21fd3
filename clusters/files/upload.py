"""A file on its way into a folder: written once, under a name nobody else has, then given its own.

What is cut off by the end of this process stays behind under that name; `clusters.files.measure`
finds it when nothing was written to it for a while.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO

from clusters.files.names import numbered, partial_name
from clusters.files.refusals import exists, speaking
from clusters.files.tree import Parts, Tree, rename_new
from portal.lib.errors import Conflict

NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_NUMBERED = 1000


class OnConflict(StrEnum):
    """What becomes of a file whose name is taken."""

    FAIL = "fail"
    REPLACE = "replace"
    KEEP_BOTH = "keep_both"


class Upload:
    """A new file in a folder, which nobody sees whole before `finish`."""

    def __init__(self, tree: Tree, folder: Parts, *, make: bool = False) -> None:
        """Raises NotFound where there is no such folder and none is to be made."""
        self.owner = tree.owner
        self.written = 0
        self._what = "/".join(folder)
        self._partial = partial_name()
        with tree.folder(folder, make=make) as fd:
            self._folder = os.dup(fd)
        try:
            with speaking(self._what):
                self._file = os.open(self._partial, NEW_FILE, 0o600, dir_fd=self._folder)
        except BaseException:
            os.close(self._folder)
            raise

    def set_length(self, length: int) -> None:
        """Make it as long as it will be, so that whoever measures meanwhile counts all of it."""
        with speaking(self._what):
            os.ftruncate(self._file, length)

    def write(self, data: bytes) -> None:
        """Append. Raises Unavailable where the disk is full."""
        with speaking(self._what):
            view = memoryview(data)
            while view:
                count = os.pwrite(self._file, view, self.written)
                self.written += count
                view = view[count:]

    def reader(self) -> BinaryIO:
        """What was written, to be read and sought in; lives until the upload is over."""
        return os.fdopen(os.dup(self._file), "rb")

    def finish(self, name: str, on_conflict: OnConflict, *, mode: int = 0o644) -> str:
        """Give it its name once it is on the disk; returns the name it got. Raises Conflict."""
        with speaking(self._what):
            os.ftruncate(self._file, self.written)
            os.fchmod(self._file, mode)
            if self.owner is not None:
                os.fchown(self._file, *self.owner)
            os.fsync(self._file)
        try:
            got = self._place(name, on_conflict)
        except FileNotFoundError as error:
            raise Conflict("The upload or its folder was removed meanwhile.") from error
        with speaking(self._what):
            os.fsync(self._folder)
        self._close()
        return got

    def size_replaced(self, name: str) -> int:
        """Bytes that a file of this name takes on the disk now, 0 where there is none."""
        try:
            info = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return 0
        return info.st_blocks * 512 if info.st_nlink == 1 else 0

    def abandon(self) -> None:
        """Leave nothing behind; may be repeated, and does nothing after `finish`."""
        if self._folder < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._partial, dir_fd=self._folder)
        self._close()

    def _place(self, name: str, on_conflict: OnConflict) -> str:
        if on_conflict == OnConflict.REPLACE:
            with _saying_exists(name):
                os.rename(self._partial, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            return name
        for candidate in names_for(name, on_conflict):
            try:
                rename_new(self._folder, self._partial, self._folder, candidate, is_folder=False)
            except FileExistsError:
                continue
            return candidate
        raise exists(name)

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._folder)
        self._file = self._folder = -1


def names_for(name: str, on_conflict: OnConflict) -> Iterator[str]:
    """The names to try, in turn."""
    yield name
    if on_conflict == OnConflict.KEEP_BOTH:
        for number in range(2, MOST_NUMBERED):
            yield numbered(name, number)


@contextlib.contextmanager
def _saying_exists(name: str) -> Iterator[None]:
    """A file does not take the place of a folder."""
    try:
        yield
    except (IsADirectoryError, FileExistsError) as error:
        raise exists(name) from error
