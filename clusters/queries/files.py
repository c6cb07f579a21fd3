"""What lies in volumes."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from accounts.actor import Actor
from clusters.access import volume_for
from clusters.actions.trees import open_tree
from clusters.files.archive import zip_pieces
from clusters.files.names import split_path
from clusters.files.tree import Entry, Kind, Listing, Sort, entry_of
from clusters.files.walk import MOST_ENTRIES, count
from portal.lib.errors import InvalidInput, NotFound, TooLarge

MOST_ASKED = 1000


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file; `etag` is another one once the file has changed."""

    stream: BinaryIO
    entry: Entry
    etag: str


def list_folder(
    actor: Actor,
    volume_id: str,
    path: str,
    *,
    start: int,
    limit: int,
    sort: Sort = Sort.NAME,
    descending: bool = False,
) -> Listing:
    """Part of a folder. Raises NotFound, InvalidInput, Unavailable."""
    parts = split_path(path)
    with open_tree(volume_for(actor, volume_id)) as tree:
        return tree.list(parts, start=start, limit=limit, sort=sort, descending=descending)


def stat(actor: Actor, volume_id: str, path: str) -> Entry:
    """One file or folder, a link itself where it is one. Raises NotFound, InvalidInput."""
    parts = split_path(path)
    with open_tree(volume_for(actor, volume_id)) as tree:
        return entry_of(parts[-1] if parts else "", tree.stat(parts))


def open_file(actor: Actor, volume_id: str, path: str) -> OpenFile:
    """A file, open for reading. Raises NotFound, InvalidInput, Unavailable."""
    parts = split_path(path)
    if not parts:
        raise NotFound("A volume is no file.")
    with open_tree(volume_for(actor, volume_id)) as tree:
        stream = tree.open_file(parts)
    info = os.fstat(stream.fileno())
    etag = f'"{info.st_ino:x}-{info.st_mtime_ns:x}-{info.st_size:x}"'
    return OpenFile(stream, entry_of(parts[-1], info), etag)


def known(actor: Actor, volume_id: str, folder: str, paths: Sequence[str]) -> dict[str, Entry]:
    """Which of these paths below a folder are there already, and what is."""
    if len(paths) > MOST_ASKED:
        raise InvalidInput.of(paths=f"Ask for at most {MOST_ASKED:,} at a time.")
    above = split_path(folder)
    found: dict[str, Entry] = {}
    with open_tree(volume_for(actor, volume_id)) as tree:
        for path in paths:
            parts = (*above, *split_path(path))
            try:
                found[path] = entry_of(parts[-1], tree.stat(parts))
            except (NotFound, IndexError):
                continue
    return found


def zip_of(
    actor: Actor, volume_id: str, path: str, names: Sequence[str] | None = None
) -> tuple[str, Generator[bytes, None, None]]:
    """A file name, and the zip of a folder, or of `names` in it, piece by piece.

    Raises NotFound, InvalidInput, Unavailable, and TooLarge beyond `MOST_ENTRIES` entries.
    """
    parts = split_path(path)
    for name in names or ():
        if len(split_path(name)) != 1:
            raise InvalidInput.of(names="Name what lies in the folder, without slashes.")
    volume = volume_for(actor, volume_id)
    tree = open_tree(volume)
    try:
        is_too_much = count(tree, parts, names) > MOST_ENTRIES
    except BaseException:
        tree.close()
        raise
    if is_too_much:
        tree.close()
        raise TooLarge(
            f"That is more than {MOST_ENTRIES:,} files. Download the folders in it one by one."
        )
    named = names[0] if names is not None and len(names) == 1 else (*("", *parts),)[-1]
    return f"{named or volume.name}.zip", zip_pieces(tree, parts, names)


def is_folder(entry: Entry) -> bool:
    """Whether it may be opened and looked into."""
    return entry.kind == Kind.FOLDER
