"""Somebody swaps folders for links, as fast as they can, while we walk, write and delete."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
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
SECRET = b"of somebody else"


@pytest.fixture
def swaps(root: Path, tmp_path: Path) -> Iterator[list[int]]:
    """`here` is now a folder and now a link to one that is not ours; how often it changed."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_bytes(SECRET)
    (root / "folder").mkdir()
    (root / "folder/victim").write_bytes(b"ours")
    (root / "link").symlink_to(tmp_path / "outside")
    count, is_over = [0], threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for kind in ("folder", "link"):
                with contextlib.suppress(OSError):
                    (root / kind).rename(root / "here")
                    count[0] += 1
                    (root / "here").rename(root / kind)

    thread = threading.Thread(target=swap)
    thread.start()
    yield count
    is_over.set()
    thread.join()


def again_and_again() -> Iterator[int]:
    until = time.monotonic() + SECONDS
    tries = 0
    while time.monotonic() < until:
        tries += 1
        yield tries


def test_reading_never_leaves_the_volume(tree: Tree, swaps: list[int]) -> None:
    read = 0
    for _ in again_and_again():
        with contextlib.suppress(PortalError), tree.open_file(("here", "victim")) as file:
            assert file.read() == b"ours"
            read += 1
    assert read > 0
    assert swaps[0] > 100


def test_writing_never_leaves_the_volume(tree: Tree, swaps: list[int], tmp_path: Path) -> None:
    written = 0
    for number in again_and_again():
        with contextlib.suppress(PortalError):
            one = Upload(tree, ("here",))
            try:
                one.write(b"x")
                one.finish(f"new-{number}", OnConflict.REPLACE)
                written += 1
            finally:
                one.abandon()
        with (
            contextlib.suppress(PortalError),
            tree.folder(("here", "made", "below"), make=True) as fd,
        ):
            make_folder(fd, f"{number}", None)
        with contextlib.suppress(PortalError):
            tree.move(("here", f"new-{number}"), ("here", "victim2"))
    assert written > 0
    assert names_in(tmp_path / "outside") == ["victim"]
    assert (tmp_path / "outside/victim").read_bytes() == SECRET


def test_deleting_never_leaves_the_volume(
    tree: Tree, root: Path, swaps: list[int], tmp_path: Path
) -> None:
    removed = 0
    for _ in again_and_again():
        removal = Removal.of(seconds=0.05)
        with tree.folder(()) as fd, contextlib.suppress(OSError):
            remove(fd, "here", removal)
        removed += removal.removed
        for kind in ("folder", "here"):
            with contextlib.suppress(OSError):
                (root / kind).mkdir()
                put_victim(root / kind)
        with contextlib.suppress(OSError):
            (root / "link").symlink_to(tmp_path / "outside")
    assert removed > 10
    assert (tmp_path / "outside/victim").read_bytes() == SECRET


def put_victim(folder: Path) -> None:
    """A file of ours, unless a link has taken the folder's place in between."""
    fd = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.close(os.open("victim", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, dir_fd=fd))
    finally:
        os.close(fd)


def test_archives_and_measures_never_leave_the_volume(root: Path, swaps: list[int]) -> None:
    seen = 0
    for _ in again_and_again():
        whole = b"".join(zip_pieces(Tree(root, None), (), None))
        assert SECRET not in whole
        seen += b"ours" in whole
        with Tree(root, None) as tree:
            assert measure(tree, seconds=5).is_whole
    assert seen > 0
