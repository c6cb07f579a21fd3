"""A file comes into a folder whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.files.names import is_partial
from clusters.files.tree import Tree
from clusters.files.upload import OnConflict, Upload
from portal.lib.errors import Conflict, NotFound
from tests.clusters.files.conftest import names_in


def upload(
    tree: Tree, name: str, data: bytes, how: OnConflict = OnConflict.FAIL, *folder: str
) -> str:
    one = Upload(tree, folder)
    try:
        one.write(data)
        return one.finish(name, how)
    except BaseException:
        one.abandon()
        raise


def test_it_is_there_whole(tree: Tree, root: Path) -> None:
    assert upload(tree, "model.bin", b"weights") == "model.bin"
    assert (root / "model.bin").read_bytes() == b"weights"
    assert (root / "model.bin").stat().st_mode & 0o777 == 0o644
    assert names_in(root) == ["model.bin"]


def test_nobody_sees_a_part_of_it(tree: Tree, root: Path) -> None:
    one = Upload(tree, ())
    one.write(b"half")
    (name,) = names_in(root)
    assert is_partial(name)
    assert tree.list(()).entries == []
    one.abandon()


def test_abandoned_it_leaves_nothing(tree: Tree, root: Path) -> None:
    one = Upload(tree, ())
    one.write(b"half")
    one.abandon()
    one.abandon()
    assert names_in(root) == []


def test_a_name_that_is_taken_is_refused(tree: Tree, root: Path) -> None:
    (root / "a").write_bytes(b"before")
    with pytest.raises(Conflict, match="already something called a"):
        upload(tree, "a", b"after")
    assert (root / "a").read_bytes() == b"before"
    assert names_in(root) == ["a"]


def test_or_the_file_is_replaced(tree: Tree, root: Path) -> None:
    (root / "a").write_bytes(b"before")
    assert upload(tree, "a", b"after", OnConflict.REPLACE) == "a"
    assert (root / "a").read_bytes() == b"after"


def test_or_both_are_kept(tree: Tree, root: Path) -> None:
    (root / "a.txt").write_bytes(b"1")
    got = [upload(tree, "a.txt", b"x", OnConflict.KEEP_BOTH) for _ in range(2)]
    assert got == ["a (2).txt", "a (3).txt"]
    assert (root / "a.txt").read_bytes() == b"1"


def test_a_folder_is_never_replaced_by_a_file(tree: Tree, root: Path) -> None:
    (root / "a").mkdir()
    with pytest.raises(Conflict):
        upload(tree, "a", b"x", OnConflict.REPLACE)
    assert names_in(root) == ["a"]


def test_a_link_is_replaced_itself(tree: Tree, root: Path, tmp_path: Path) -> None:
    (root / "a").symlink_to(tmp_path / "secret")
    upload(tree, "a", b"mine", OnConflict.REPLACE)
    assert (root / "a").read_bytes() == b"mine"
    assert (tmp_path / "secret").read_bytes() == b"of somebody else"


def test_there_must_be_a_folder(tree: Tree, root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path)
    for folder in ("nothing", "link"):
        with pytest.raises(NotFound):
            Upload(tree, (folder,))
    assert names_in(tmp_path) == ["secret", "volume"]


def test_a_folder_removed_meanwhile_is_said(tree: Tree, root: Path) -> None:
    (root / "a").mkdir()
    one = Upload(tree, ("a",))
    one.write(b"x")
    for child in (root / "a").iterdir():
        child.unlink()
    (root / "a").rmdir()
    with pytest.raises(Conflict, match="removed meanwhile"):
        one.finish("b", OnConflict.FAIL)
    one.abandon()


def test_it_has_the_length_it_was_written_in(tree: Tree, root: Path) -> None:
    one = Upload(tree, ())
    one.set_length(1000)
    one.write(b"short")
    one.finish("a", OnConflict.FAIL)
    assert (root / "a").read_bytes() == b"short"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_belongs_to_the_owner_of_the_volume(root: Path) -> None:
    with Tree(root, (210_007, 210_007)) as tree:
        upload(tree, "a", b"x")
        Upload(tree, ("made",), make=True).abandon()
    for name in ("a", "made"):
        info = (root / name).stat()
        assert (info.st_uid, info.st_gid) == (210_007, 210_007)
