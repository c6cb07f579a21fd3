"""Everything below a folder, a folder at a time, without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice

from clusters.backends.files import FOLDER_FLAGS
from clusters.files.names import MAX_DEPTH, is_partial, is_text
from clusters.files.tree import Parts, Tree
from portal.lib.errors import NotFound

MOST_ENTRIES = 50_000
Found = tuple[Parts, int, os.stat_result]


def walk(tree: Tree, folder: Parts, names: Sequence[str] | None = None) -> Iterator[Found]:
    """`(path below folder, open folder it lies in, stat)` of what people may see.

    A folder comes before what is in it; below `MAX_DEPTH` folders nothing is looked for. Of the
    uppermost, only `names` where given. The open folder may be used until the next step.
    """
    with tree.folder(folder) as fd:
        yield from _walk(fd, (), _listed(fd) if names is None else sorted(set(names)))


def _walk(fd: int, prefix: Parts, names: Sequence[str]) -> Iterator[Found]:
    for name in names:
        if not is_text(name) or is_partial(name):
            continue
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            below = os.open(name, FOLDER_FLAGS, dir_fd=fd) if _is_deeper(info, prefix) else -1
        except OSError:
            continue  # gone, or another thing by now, or closed to us
        path = (*prefix, name)
        try:
            yield path, fd, info
            if below >= 0:
                yield from _walk(below, path, _listed(below))
        finally:
            if below >= 0:
                os.close(below)


def _listed(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return sorted(entry.name for entry in islice(entries, MOST_ENTRIES + 1))


def _is_deeper(info: os.stat_result, prefix: Parts) -> bool:
    return stat.S_ISDIR(info.st_mode) and len(prefix) < MAX_DEPTH


def count(tree: Tree, folder: Parts, names: Sequence[str] | None) -> int:
    """How many entries a walk finds, at most `MOST_ENTRIES` + 1.

    Raises NotFound for a name that is not there.
    """
    for name in names or ():
        tree.stat((*folder, name))
    if names is not None and not names:
        raise NotFound("Nothing was chosen.")
    return sum(1 for _ in islice(walk(tree, folder, names), MOST_ENTRIES + 1))
