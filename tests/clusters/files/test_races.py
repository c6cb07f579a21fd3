"""Somebody swaps folders for links, as fast as they can, while we walk, write and delete."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusters.files.archive import zip_pieces
from clusters.files.measure import measure
from clusters.files.removal import Removal, remove
from clusters.files.tree import Tree, make_folder
from clusters.files.upload import OnConflict, Upload
from portal.lib.errors import PortalError
from tests.clusters.files.conftest import names_in

SECONDS = 1.0
SWAPS = 100
SECRET = b"of somebody else"


@dataclass
class Race:
    """What was done while somebody swapped."""

    swaps: list[int]
    done: int = 0

    def tries(self, enough: int = 1) -> Iterator[int]:
        """Numbers, for a while and on until enough was done and swapped."""
        until = time.monotonic() + SECONDS
        for number in itertools.count(1):
            if time.monotonic() > until and self.done >= enough and self.swaps[0] > SWAPS:
                return
            yield number


@pytest.fixture
def race(root: Path, tmp_path: Path) -> Iterator[Race]:
    """`here` is now a folder and now a link to one that is not ours."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_bytes(SECRET)
    (root / "folder").mkdir()
    (root / "folder/victim").write_bytes(b"ours")
    (root / "link").symlink_to(tmp_path / "outside")
    count, numbers, is_over = [0], itertools.count(), threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for kind in ("folder", "link"):
                try:
                    (root / kind).rename(root / "here")
                    count[0] += 1
                    (root / "here").rename(root / kind)
                except OSError:
                    # What the test has made there is in the way.
                    with contextlib.suppress(OSError):
                        (root / "here").rename(root / f"made-{next(numbers)}")

    thread = threading.Thread(target=swap)
    thread.start()
    yield Race(count)
    is_over.set()
    thread.join()


def test_reading_never_leaves_the_volume(tree: Tree, race: Race) -> None:
    for _ in race.tries():
        with contextlib.suppress(PortalError), tree.open_file(("here", "victim")) as file:
            assert file.read() == b"ours"
            race.done += 1


def test_writing_never_leaves_the_volume(tree: Tree, race: Race, tmp_path: Path) -> None:
    for number in race.tries():
        with contextlib.suppress(PortalError):
            one = Upload(tree, ("here",))
            try:
                one.write(b"x")
                one.finish(f"new-{number}", OnConflict.REPLACE)
                race.done += 1
            finally:
                one.abandon()
        with (
            contextlib.suppress(PortalError),
            tree.folder(("here", "made", "below"), make=True) as fd,
        ):
            make_folder(fd, f"{number}", None)
        with contextlib.suppress(PortalError):
            tree.move(("here", f"new-{number}"), ("here", "victim2"))
    assert names_in(tmp_path / "outside") == ["victim"]
    assert (tmp_path / "outside/victim").read_bytes() == SECRET


def test_deleting_never_leaves_the_volume(
    tree: Tree, root: Path, race: Race, tmp_path: Path
) -> None:
    for _ in race.tries(10):
        removal = Removal.of(seconds=0.05)
        with tree.folder(()) as fd, contextlib.suppress(OSError):
            remove(fd, "here", removal)
        race.done += removal.removed
        for kind in ("folder", "here"):
            with contextlib.suppress(OSError):
                (root / kind).mkdir()
                put_victim(root / kind)
        with contextlib.suppress(OSError):
            (root / "link").symlink_to(tmp_path / "outside")
    assert (tmp_path / "outside/victim").read_bytes() == SECRET


def put_victim(folder: Path) -> None:
    """A file of ours, unless a link has taken the folder's place in between."""
    fd = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.close(os.open("victim", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, dir_fd=fd))
    finally:
        os.close(fd)


def test_archives_and_measures_never_leave_the_volume(root: Path, race: Race) -> None:
    for _ in race.tries():
        whole = b"".join(zip_pieces(Tree(root, None), (), None))
        assert SECRET not in whole
        race.done += b"ours" in whole
        with Tree(root, None) as tree:
            assert measure(tree, seconds=60).is_whole
