"""Finds the event files that one attempt has written into a volume, among those of others.

A volume outlives attempts and several may write into it at once, so it is not enough that a file is
new. Writers put the second and the host into the name of an event file: the host of an attempt that
is no server is called like the attempt, and servers share one name. What cannot be told for sure is
left out: a line of another run in a chart is worse than none.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from clusters.backends import files
from clusters.backends.base import OutputFile

WORKSPACE = "/workspace/"
MOST_DEPTH = 8
MOST_ENTRIES = 20_000
# Names carry whole seconds.
_GRAIN = timedelta(seconds=1)
_NAME = re.compile(
    r"events\.out\.tfevents\.(?P<second>\d{9,11})\.(?P<host>[^/]+?)(?:\.\d+)*(?:\.v2)?"
)
_OF_AN_ATTEMPT = re.compile(r"fg-[a-z0-9-]+")
Span = tuple[datetime, datetime | None]


@dataclass(frozen=True, slots=True)
class Writer:
    """An attempt that had `root` mounted in `span`, whose end is None while it goes on.

    `host`: what its machine is called, if that names it; empty for a server, whose name others
    share. `others` are the spans of those that cannot be told from it by their host. With
    `is_any_host` nothing is known of hosts, so that all are there that had the same volume.
    """

    root: Path
    span: Span
    host: str = ""
    others: Sequence[Span] = ()
    is_any_host: bool = False
    nodes: frozenset[str] = frozenset()
    elsewhere: Sequence[Span] = ()

    def wrote(self, name: str, modified_at: datetime) -> bool:
        """Whether a file of this name is known to be its own."""
        parts = _NAME.fullmatch(name)
        if parts is None or modified_at < self.span[0] - _GRAIN:
            return False
        made_at = datetime.fromtimestamp(int(parts["second"]), UTC)
        if not _is_in(self.span, made_at):
            return False
        if self.host:
            return parts["host"] == self.host
        if not self.is_any_host and _OF_AN_ATTEMPT.fullmatch(parts["host"]):
            return False
        # A host may write itself with its domain.
        is_of_a_node = parts["host"].partition(".")[0] in self.nodes
        unclear = self.others if is_of_a_node else [*self.others, *self.elsewhere]
        return not any(_is_in(span, made_at) for span in unclear)


def _is_in(span: Span, at: datetime) -> bool:
    began, ended = span
    return began - _GRAIN <= at and (ended is None or at <= ended + _GRAIN)


def files_of(writer: Writer, *, most_entries: int = MOST_ENTRIES) -> list[OutputFile]:
    """Its event files, with paths below `WORKSPACE`.

    Looks at so many names at most, the upper folders first, and into no hidden folder.
    """
    found: list[OutputFile] = []
    folders = deque([""])
    left = most_entries
    while folders and left > 0:
        prefix = folders.popleft()
        with _opened(writer.root, prefix) as entries:
            for entry in islice(entries, left):
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    if prefix.count("/") < MOST_DEPTH and not entry.name.startswith("."):
                        folders.append(f"{prefix}{entry.name}/")
                elif file := _file_of(writer, prefix, entry):
                    found.append(file)
    return found


@contextmanager
def _opened(root: Path, prefix: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in a folder; nothing if it is gone, or another thing by now."""
    try:
        folder = files.open_folder(root, prefix.rstrip("/"))
    except FileNotFoundError:
        yield iter(())
        return
    try:
        with os.scandir(folder) as entries:
            yield entries
    finally:
        os.close(folder)


def _file_of(writer: Writer, prefix: str, entry: os.DirEntry[str]) -> OutputFile | None:
    if not _NAME.fullmatch(entry.name):
        return None
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # gone since it was listed
    modified_at = datetime.fromtimestamp(info.st_mtime, UTC)
    if not stat.S_ISREG(info.st_mode) or not writer.wrote(entry.name, modified_at):
        return None
    return OutputFile(f"{WORKSPACE}{prefix}{entry.name}", info.st_size, modified_at)
