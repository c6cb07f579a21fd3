"""Unpacking a zip file that somebody made to do harm, into a folder that was not there before.

Everything is checked before anything is written, nothing is believed: no entry may lead out of the
folder, be there twice, be encrypted or larger than it says; links are left out. The folder appears
under its name when it is whole.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from clusters.backends.files import FOLDER_FLAGS
from clusters.files.names import check_new, partial_name, split_path
from clusters.files.refusals import exists, speaking
from clusters.files.removal import Removal, remove
from clusters.files.tree import Owner, Parts, Tree, is_there, make_folder
from clusters.files.upload import NEW_FILE, OnConflict, names_for
from clusters.files.walk import MOST_ENTRIES
from portal.lib.errors import InvalidInput, TooLarge

# The index of a zip file is read as a whole; this many bytes name some 100,000 files.
MOST_INDEX_BYTES = 16 * 1024**2
# Zeros shrink a thousandfold, text tenfold. What shrinks more than this is made to do harm.
MOST_GROWTH = 200
GROWTH_ALLOWED_BYTES = 64 * 1024**2
PIECE_BYTES = 256 * 1024
_DAMAGED = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError,
    struct.error, zlib.error,
)  # fmt: skip
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
_STEP = 200


class Room(Protocol):
    """What a volume has left."""

    def take(self, size: int) -> None:
        """Set `size` bytes aside. Raises TooLarge."""

    def give_back(self, size: int) -> None:
        """Of what was set aside, `size` bytes are not needed."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of the archive, at a path that leads nowhere else."""

    info: zipfile.ZipInfo
    path: Parts
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is unpacked; `left_out` counts links and other things that are no files."""

    archive: zipfile.ZipFile
    members: tuple[Member, ...]
    total_bytes: int
    left_out: int


class _Bounded:
    """A file of which no more than an index may be read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        most = MOST_INDEX_BYTES + 1
        data = self._file.read(min(size, most) if size >= 0 else most)
        if len(data) == most:
            raise TooLarge(f"The archive names more than {MOST_ENTRIES:,} files.")
        return data


def plan(file: BinaryIO) -> Plan:
    """Read the index of a zip file and check all of it. Raises InvalidInput, TooLarge."""
    size = os.fstat(file.fileno()).st_size
    try:
        archive = zipfile.ZipFile(_Bounded(file))
    except _DAMAGED as error:
        raise InvalidInput.of(archive="This is no zip file, or a damaged one.") from error
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise TooLarge(f"The archive holds {len(infos):,} files; at most {MOST_ENTRIES:,} are.")
    members = [member for info in infos if (member := _member(info)) is not None]
    _check_paths(members)
    total = sum(member.info.file_size for member in members)
    if total > GROWTH_ALLOWED_BYTES + MOST_GROWTH * size:
        raise TooLarge("The archive would grow beyond measure when unpacked.")
    return Plan(archive, tuple(members), total, len(infos) - len(members))


def unpack(
    plan: Plan, tree: Tree, target: Parts, *, on_conflict: OnConflict, room: Room
) -> Generator[int | str, None, None]:
    """Unpack into the new folder `target`; yields how many are done, at last the name it got.

    Raises Conflict where the name is taken, InvalidInput for what is damaged, TooLarge. Nothing is
    left when it raises, or is closed before its end.
    """
    room.take(plan.total_bytes)
    try:
        with tree.folder(target[:-1]) as parent:
            staged = _Staged(parent, tree.owner)
            try:
                yield from staged.fill(plan)
                name = staged.place(target[-1], on_conflict)
            except BaseException:
                staged.clear()
                raise
    except BaseException:
        room.give_back(plan.total_bytes)
        raise
    yield name


class _Staged:
    """A folder of ours in which the archive takes shape; its own user cannot enter it yet."""

    def __init__(self, parent: int, owner: Owner | None) -> None:
        self._parent, self._owner, self._name = parent, owner, partial_name()
        with speaking(self._name):
            os.mkdir(self._name, 0o700, dir_fd=parent)
            self._fd = os.open(self._name, FOLDER_FLAGS, dir_fd=parent)

    def fill(self, plan: Plan) -> Iterator[int]:
        """Write every member."""
        for number, member in enumerate(plan.members, 1):
            folder = member.path if member.is_folder else member.path[:-1]
            fd = self._folder(folder)
            try:
                if not member.is_folder:
                    self._write(plan.archive, member, fd)
            finally:
                os.close(fd)
            if number % _STEP == 0 or number == len(plan.members):
                os.utime(self._fd)  # a sign of life
                yield number

    def place(self, name: str, on_conflict: OnConflict) -> str:
        """Show it under its name."""
        with speaking(name):
            os.fchmod(self._fd, 0o755)
            if self._owner is not None:
                os.fchown(self._fd, *self._owner)
            for candidate in names_for(name, on_conflict):
                if self._take_name(candidate):
                    os.close(self._fd)
                    self._fd = -1
                    return candidate
        raise exists(name)

    def _take_name(self, name: str) -> bool:
        if is_there(self._parent, name):
            return False
        try:
            os.rename(self._name, name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                return False
            raise
        return True

    def clear(self) -> None:
        """Leave nothing of it, however long that takes."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        while True:
            removal = Removal.of(seconds=60.0)
            remove(self._parent, self._name, removal)
            if removal.is_whole:
                return

    def _folder(self, parts: Parts) -> int:
        fd = os.dup(self._fd)
        for part in parts:
            try:
                with speaking(part):
                    make_folder(fd, part, self._owner, may_exist=True)
                    below = os.open(part, FOLDER_FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _write(self, archive: zipfile.ZipFile, member: Member, fd: int) -> None:
        with speaking("/".join(member.path)):
            target = os.open(member.path[-1], NEW_FILE, 0o600, dir_fd=fd)
            with os.fdopen(target, "wb") as output:
                for data in _pieces(archive, member.info):
                    output.write(data)
                is_program = member.info.external_attr >> 16 & 0o100
                os.fchmod(target, 0o755 if is_program else 0o644)
                if self._owner is not None:
                    os.fchown(target, *self._owner)


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """What an entry holds: never more than it says, or InvalidInput."""
    try:
        with archive.open(info) as source:
            left = info.file_size
            while data := source.read(PIECE_BYTES):
                left -= len(data)
                if left < 0:
                    raise zipfile.BadZipFile("longer than it says")
                yield data
    except _DAMAGED as error:
        words = f"{shown(info.filename)} in the archive is damaged. Nothing was unpacked."
        raise InvalidInput.of(archive=words) from error


def _member(info: zipfile.ZipInfo) -> Member | None:
    """The member an entry is, None for one that is left out. Raises InvalidInput."""
    name = info.orig_filename
    is_folder = name.endswith("/")
    if _is_odd(info, is_folder=is_folder):
        return None
    if info.flag_bits & _ENCRYPTED:
        raise InvalidInput.of(archive="The archive is encrypted. Unpack it before you upload it.")
    if info.compress_type not in _METHODS:
        words = "The archive is compressed in a way that is not unpacked here. Use plain zip."
        raise InvalidInput.of(archive=words)
    try:
        path = split_path(name.removesuffix("/").removeprefix("./"))
        for part in path:
            check_new(part)
    except InvalidInput as error:
        words = f"The archive names {shown(name)}. {error.message}"
        raise InvalidInput.of(archive=words) from error
    if not path or "\\" in name:
        raise InvalidInput.of(archive=f"The archive names {shown(name)}, which is no path.")
    return Member(info, path, is_folder)


def shown(name: str) -> str:
    """A name of the archive, as it may stand in a sentence."""
    return repr(name.encode("utf-8", "replace").decode()[:80])


def _is_odd(info: zipfile.ZipInfo, *, is_folder: bool) -> bool:
    """A link, a pipe or a device, as far as the archive says so."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR and not is_folder)


def _check_paths(members: list[Member]) -> None:
    """Nothing twice, and no file where others have a folder. Raises InvalidInput."""
    files: set[Parts] = set()
    folders: set[Parts] = set()
    for member in members:
        above = (member.path[:depth] for depth in range(1, len(member.path)))
        folders.update(above)
        known = folders if member.is_folder else files
        if not member.is_folder and member.path in known:
            raise InvalidInput.of(archive=f"The archive names {'/'.join(member.path)} twice.")
        known.add(member.path)
    if both := files & folders:
        name = "/".join(min(both))
        raise InvalidInput.of(archive=f"The archive names {name} as a file and as a folder.")
