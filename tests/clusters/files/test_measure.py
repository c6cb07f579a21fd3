"""How much a volume takes, and what is cleared from it by the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clusters.files.measure import LEFTOVER_SECONDS, MOST_DEPTH, measure
from clusters.files.names import partial_name
from clusters.files.tree import Tree
from clusters.files.upload import Upload
from tests.clusters.files.conftest import names_in
from tests.contracts.volumes import dig

MIB = 1024**2


def used(tree: Tree) -> int:
    found = measure(tree, seconds=20)
    assert found.is_whole
    return found.used_bytes


def test_files_are_added_up_at_any_depth(tree: Tree, root: Path) -> None:
    empty = used(tree)
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c").write_bytes(b"x" * MIB)
    (root / "d").write_bytes(b"x" * MIB)
    assert 0 <= used(tree) - empty - 2 * MIB < 64 * 1024


def test_holes_take_nothing_and_second_names_are_not_counted_again(tree: Tree, root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (root / "a").write_bytes(b"x" * MIB)
    before = used(tree)
    (root / "b").hardlink_to(root / "a")
    assert used(tree) == before < 2 * MIB


def test_links_are_not_followed(tree: Tree, root: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * MIB)
    (root / "folder").symlink_to(tmp_path)
    (root / "file").symlink_to(tmp_path / "large")
    assert used(tree) < 64 * 1024


def test_an_upload_counts_with_all_it_will_have(tree: Tree) -> None:
    before = used(tree)
    one = Upload(tree, ())
    one.set_length(5 * MIB)
    assert used(tree) == before + 5 * MIB
    one.abandon()


def test_without_time_it_is_not_known(tree: Tree, root: Path) -> None:
    for number in range(1000):
        (root / f"{number}").touch()
    assert not measure(tree, seconds=-1).is_whole


def test_what_lies_too_deep_is_not_known(tree: Tree, root: Path) -> None:
    dig(root, depth=MOST_DEPTH + 2)
    assert not measure(tree, seconds=20).is_whole


def test_what_was_cut_off_long_ago_is_cleared(tree: Tree, root: Path) -> None:
    old, young = partial_name(), partial_name()
    (root / old).write_bytes(b"x" * MIB)
    (root / young).write_bytes(b"x")
    staged = root / partial_name()
    (staged / "folder").mkdir(parents=True)
    long_ago = time.time() - LEFTOVER_SECONDS - 60
    for path in (root / old, staged):
        os.utime(path, (long_ago, long_ago))
    assert used(tree) < MIB
    assert names_in(root) == [young]
