"""Deleting trees, some at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.files.removal import Removal, erase, remove
from clusters.files.tree import Tree
from tests.clusters.files.conftest import names_in
from tests.contracts.volumes import dig


def delete(tree: Tree, name: str, *, most: int = 20_000) -> Removal:
    removal = Removal.of(most=most, seconds=60)
    with tree.folder(()) as fd:
        remove(fd, name, removal)
    return removal


def test_a_file_is_deleted_and_its_bytes_counted(tree: Tree, root: Path) -> None:
    (root / "a").write_bytes(b"x" * 10_000)
    done = delete(tree, "a")
    assert (done.removed, done.is_whole) == (1, True)
    assert done.freed_bytes >= 10_000
    assert not names_in(root)


def test_what_another_name_keeps_frees_nothing(tree: Tree, root: Path) -> None:
    (root / "a").write_bytes(b"x" * 10_000)
    (root / "b").hardlink_to(root / "a")
    assert delete(tree, "a").freed_bytes == 0


def test_nothing_there_is_no_error(tree: Tree) -> None:
    assert delete(tree, "nothing").removed == 0


def test_links_go_and_what_they_name_stays(tree: Tree, root: Path, tmp_path: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder/link").symlink_to(tmp_path)
    (root / "direct").symlink_to(tmp_path / "secret")
    delete(tree, "folder")
    delete(tree, "direct")
    assert names_in(root) == []
    assert (tmp_path / "secret").exists()


def test_it_stops_and_goes_on_where_it_stopped(tree: Tree, root: Path) -> None:
    for folder in range(5):
        (root / f"a/{folder}").mkdir(parents=True)
        for file in range(20):
            (root / f"a/{folder}/{file}").touch()
    rounds: list[Removal] = []
    while not rounds or not rounds[-1].is_whole:
        rounds.append(delete(tree, "a", most=25))
        assert rounds[-1].removed <= 25
    assert len(rounds) == 5
    assert sum(one.removed for one in rounds) == 1 + 5 + 100
    assert names_in(root) == []


def test_any_depth_is_deleted(tree: Tree, root: Path) -> None:
    (root / "a").mkdir()
    dig(root / "a", depth=1500)
    delete(tree, "a")
    assert names_in(root) == []


def test_few_files_are_open_however_deep_it_is(tree: Tree, root: Path) -> None:
    import resource

    dig(root, depth=1500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(names_in("/proc/self/fd")) + 80, hard))
    try:
        delete(tree, "d")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert names_in(root) == []


def test_an_erased_folder_is_gone_whatever_is_in_it(root: Path) -> None:
    (root / "a").mkdir(mode=0)
    erase(root)
    assert not root.exists()


def test_what_cannot_be_deleted_is_said_and_not_tried_for_ever(
    tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "immutable")

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(PermissionError):
        delete(tree, "a")
