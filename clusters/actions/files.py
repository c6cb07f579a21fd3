"""Files in volumes: folders, moves, deletions. Any member of the team may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import volume_for
from clusters.actions.room import RoomOf
from clusters.actions.trees import open_tree
from clusters.files.names import split_new, split_path
from clusters.files.refusals import speaking
from clusters.files.removal import Removal, remove
from clusters.files.tree import Entry, entry_of, make_folder
from portal.lib.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Deletion:
    """How far a deletion has come; ask again for the same until it `is_whole`."""

    removed: int
    is_whole: bool


def make_new_folder(
    actor: Actor, volume_id: str, path: str, *, parents: bool = False, may_exist: bool = False
) -> Entry:
    """A new folder; with `parents` those above it are made too.

    Raises NotFound, InvalidInput, Conflict where the name is taken (a folder may be there with
    `may_exist`), Unavailable.
    """
    parts = split_new(path)
    volume = volume_for(actor, volume_id)
    with (
        open_tree(volume) as tree,
        tree.folder(parts[:-1], make=parents) as fd,
        speaking(path),
    ):
        make_folder(fd, parts[-1], tree.owner, may_exist=may_exist)
    with open_tree(volume) as tree:
        return entry_of(parts[-1], tree.stat(parts))


def move(actor: Actor, volume_id: str, path: str, *, to: str) -> Entry:
    """Give a file or folder another name or place in its volume.

    Raises NotFound, InvalidInput, Conflict where the new name is taken, Unavailable.
    """
    source, target = split_path(path), split_new(to)
    if not source:
        raise InvalidInput.of(path="The volume itself has a name of its own: rename that.")
    with open_tree(volume_for(actor, volume_id)) as tree:
        if source != target:
            tree.move(source, target)
        return entry_of(target[-1], tree.stat(target))


def delete(
    actor: Actor,
    volume_id: str,
    folder: str,
    names: Sequence[str],
    *,
    removal: Removal | None = None,
) -> Deletion:
    """Delete `names` in a folder with all that is in them, as far as one request may take.

    What is gone already is no error. Raises NotFound, InvalidInput, Conflict, Unavailable.
    """
    parts = split_path(folder)
    for name in names:
        if not name or len(split_path(name)) != 1:
            raise InvalidInput.of(names="Name what lies in the folder, without slashes.")
    if not names:
        raise InvalidInput.of(names="Say what to delete.")
    volume = volume_for(actor, volume_id)
    removal = removal or Removal.of()
    try:
        with open_tree(volume) as tree, tree.folder(parts) as fd:
            for name in names:
                with speaking("/".join((*parts, name))):
                    remove(fd, name, removal)
                if not removal.is_whole:
                    break
    finally:
        RoomOf(volume).give_back(removal.freed_bytes)
    if removal.removed:
        audit.record(
            actor,
            "volume.files_deleted",
            team=volume.team,
            object_id=volume.public_id,
            folder=folder,
            names=list(names)[:20],
            removed=removal.removed,
        )
    return Deletion(removal.removed, removal.is_whole)


def delete_one(actor: Actor, volume_id: str, path: str) -> Deletion:
    """Delete one file or folder. Raises NotFound where there is none."""
    folder, name = _split(path)
    with open_tree(volume_for(actor, volume_id)) as tree:
        tree.stat(split_path(path))
    return delete(actor, volume_id, folder, [name])


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    if not name:
        raise NotFound("The files of a volume go one by one, or with the volume itself.")
    return folder, name
