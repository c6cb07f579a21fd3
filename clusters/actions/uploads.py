"""Files on their way into a volume, and archives that are unpacked there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

from accounts.access import require_still
from accounts.actor import Actor
from clusters.access import volume_for
from clusters.actions.room import RoomOf
from clusters.actions.trees import open_tree
from clusters.files import unpack
from clusters.files.names import split_new, split_path
from clusters.files.tree import Entry, Parts, Tree, entry_of
from clusters.files.upload import OnConflict, Upload
from clusters.models import Volume
from portal.lib.errors import Conflict, NotFound, Unavailable
from portal.lib.sizes import format_bytes
from portal.lib.tasks import hint

# Set aside at a time for what does not say how long it is.
STEP_BYTES = 64 * 1024**2
# Of the disk itself so much stays free: databases and logs may lie on the same.
KEEP_FREE_BYTES = 1024**3
MOST_BYTES = 1 << 60


class Incoming:
    """A body on its way into a file. Blocks; each call may come from another thread."""

    def __init__(
        self, actor: Actor, volume: Volume, folder: Parts, *, length: int | None, make: bool = False
    ) -> None:
        """`length` in bytes, None where it is not known. Raises TooLarge, NotFound, Unavailable."""
        self._actor, self._volume = actor, volume
        self._room = RoomOf(volume)
        self._is_open = False
        self._taken = 0
        # Who gives it up may do so while another thread still writes.
        self._one_at_a_time = threading.RLock()
        self._tree = open_tree(volume)
        try:
            check_disk(self._tree, length or 0)
            self._take(length or 0)
            self._upload = Upload(self._tree, folder, make=make)
            self._is_open = True
            self._upload.set_length(self._taken)
        except BaseException:
            self.abandon()
            raise

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises TooLarge, Unavailable, and Conflict once it is given up."""
        with self._one_at_a_time:
            if not self._is_open:
                raise Conflict("The upload was given up.")
            if self._upload.written + len(data) > self._taken:
                check_disk(self._tree, STEP_BYTES)
                self._take(max(STEP_BYTES, len(data)))
                self._upload.set_length(self._taken)
            self._upload.write(data)

    def abandon(self) -> None:
        """Leave nothing of it; may be repeated."""
        with self._one_at_a_time:
            if self._is_open:
                self._is_open = False
                self._upload.abandon()
            taken, self._taken = self._taken, 0
            if taken:
                self._room.give_back(taken)
            self._tree.close()

    def _take(self, size: int) -> None:
        self._room.take(size)
        self._taken += size

    def _check_still(self) -> None:
        """It may have taken hours."""
        require_still(self._actor)
        volume_for(self._actor, self._volume.public_id)


class IncomingFile(Incoming):
    """An upload of one file."""

    def __init__(
        self,
        actor: Actor,
        volume: Volume,
        path: Parts,
        *,
        length: int | None,
        on_conflict: OnConflict,
        parents: bool,
    ) -> None:
        super().__init__(actor, volume, path[:-1], length=length, make=parents)
        self._path, self._on_conflict = path, on_conflict

    def place(self) -> tuple[str, Entry]:
        """The path it got, and what lies there. Raises Conflict, NotFound, NotAllowed."""
        self._check_still()
        with self._one_at_a_time:
            return self._place()

    def _place(self) -> tuple[str, Entry]:
        name, on_conflict = self._path[-1], self._on_conflict
        replaced = self._upload.size_replaced(name) if on_conflict == OnConflict.REPLACE else 0
        written = self._upload.written
        got = self._upload.finish(name, on_conflict)
        self._is_open = False
        unused, self._taken = self._taken - written, 0
        if unused + replaced:
            self._room.give_back(unused + replaced)
        path = (*self._path[:-1], got)
        with self._tree as tree:
            return "/".join(path), entry_of(got, tree.stat(path))


class IncomingArchive(Incoming):
    """An upload that is unpacked and not kept."""

    def __init__(
        self,
        actor: Actor,
        volume: Volume,
        target: Parts,
        *,
        length: int | None,
        on_conflict: OnConflict,
    ) -> None:
        super().__init__(actor, volume, target[:-1], length=length)
        self._target, self._on_conflict = target, on_conflict

    def unpacked(self) -> tuple[str, int, int]:
        """The folder it got, how many entries it has, and how many were left out."""
        self._check_still()
        with self._upload.reader() as file:
            plan = unpack.plan(file)
            steps = unpack.unpack(
                plan, self._tree, self._target, on_conflict=self._on_conflict, room=self._room
            )
            *_, name = steps
        self.abandon()
        hint("clusters.tasks.measure_volume", self._volume.pk, expires=60)
        return "/".join((*self._target[:-1], str(name))), len(plan.members), plan.left_out


def begin_upload(
    actor: Actor,
    volume_id: str,
    path: str,
    *,
    length: int | None,
    on_conflict: OnConflict,
    parents: bool = False,
) -> IncomingFile:
    """A file to be taken in. With `parents`, folders above it are made where they are missing.

    Raises NotFound, InvalidInput, Conflict where the name is taken and shall not be, TooLarge,
    Unavailable.
    """
    parts = split_new(path)
    volume = volume_for(actor, volume_id)
    if on_conflict == OnConflict.FAIL:
        _check_free(volume, parts)
    return IncomingFile(
        actor, volume, parts, length=length, on_conflict=on_conflict, parents=parents
    )


def begin_unpack(
    actor: Actor, volume_id: str, path: str, *, length: int | None, on_conflict: OnConflict
) -> IncomingArchive:
    """An archive to be taken in and unpacked into the new folder `path`. Raises as above."""
    parts = split_new(path)
    volume = volume_for(actor, volume_id)
    if on_conflict != OnConflict.KEEP_BOTH:
        _check_free(volume, parts)
    return IncomingArchive(actor, volume, parts, length=length, on_conflict=on_conflict)


def unpack_file(actor: Actor, volume_id: str, path: str) -> Iterator[dict[str, int | str]]:
    """Unpack an archive that lies in the volume into a new folder beside it, called like it.

    Everything is checked before the first step. Each step says how many of how many entries are
    `done`; the last names the folder and how many were `left_out`. Raises NotFound, InvalidInput,
    TooLarge, Unavailable.
    """
    parts = split_path(path)
    volume = volume_for(actor, volume_id)
    if not parts:
        raise NotFound("A volume is no archive.")
    tree = open_tree(volume)
    try:
        file = tree.open_file(parts)
        plan = unpack.plan(file)
        check_disk(tree, plan.total_bytes)
    except BaseException:
        tree.close()
        raise
    name = parts[-1].removesuffix(".zip") or parts[-1]
    target = (*parts[:-1], name if name != parts[-1] else f"{name} unpacked")
    steps = unpack.unpack(plan, tree, target, on_conflict=OnConflict.KEEP_BOTH, room=RoomOf(volume))

    def told() -> Iterator[dict[str, int | str]]:
        with tree, file, closing(steps):
            for step in steps:
                if isinstance(step, int):
                    yield {"done": step, "of": len(plan.members)}
                else:
                    hint("clusters.tasks.measure_volume", volume.pk, expires=60)
                    yield {"name": step, "left_out": plan.left_out}

    return told()


def check_disk(tree: Tree, size: int) -> None:
    """Raises Unavailable where the disk itself has no room for `size` bytes."""
    with tree.folder(()) as fd:
        disk = os.fstatvfs(fd)
    if disk.f_bavail * disk.f_frsize < size + KEEP_FREE_BYTES:
        raise Unavailable(
            f"The disk of this volume has no room for {format_bytes(size)} more. The operators can "
            "make room."
        )


def _check_free(volume: Volume, parts: Parts) -> None:
    """Say so before the body is sent; that nothing is replaced is made sure of at the end."""
    with open_tree(volume) as tree:
        try:
            tree.stat(parts)
        except NotFound:
            return
    name = parts[-1]
    raise Conflict(f"There is already something called {name}.", fields={"path": "exists"})
