"""Looking into a volume, making folders and moving what is there, whatever lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.files.names import partial_name
from clusters.files.tree import Kind, Sort, Tree, make_folder
from portal.lib.errors import Conflict, NotFound
from tests.descriptors import open_below


def names(tree: Tree, *parts: str, sort: Sort = Sort.NAME, descending: bool = False) -> list[str]:
    listing = tree.list(parts, sort=sort, descending=descending)
    return [entry.name for entry in listing.entries]


def test_folders_come_first_then_names_without_regard_to_case(tree: Tree, root: Path) -> None:
    for name in ("b.txt", "A.txt", "c.txt"):
        (root / name).touch()
    for name in ("zoo", "Ark"):
        (root / name).mkdir()
    assert names(tree) == ["Ark", "zoo", "A.txt", "b.txt", "c.txt"]
    assert names(tree, descending=True) == ["zoo", "Ark", "c.txt", "b.txt", "A.txt"]


def test_it_is_sorted_by_size_and_by_time(tree: Tree, root: Path) -> None:
    for name, size, at in (("old-large", 30, 1), ("new-small", 10, 3), ("mid", 20, 2)):
        (root / name).write_bytes(b"x" * size)
        os.utime(root / name, (at, at))
    assert names(tree, sort=Sort.SIZE, descending=True) == ["old-large", "mid", "new-small"]
    assert names(tree, sort=Sort.MODIFIED, descending=True) == ["new-small", "mid", "old-large"]


def test_a_folder_is_read_page_by_page(tree: Tree, root: Path) -> None:
    for number in range(10):
        (root / f"{number}").touch()
    listing = tree.list((), start=4, limit=3)
    assert [entry.name for entry in listing.entries] == ["4", "5", "6"]
    assert (listing.total, listing.is_cut) == (10, False)


def test_what_is_no_file_is_shown_as_what_it_is(tree: Tree, root: Path) -> None:
    (root / "folder").mkdir()
    (root / "file").write_bytes(b"123")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    found = {entry.name: (entry.kind, entry.size_bytes) for entry in tree.list(()).entries}
    assert found == {
        "folder": (Kind.FOLDER, None),
        "file": (Kind.FILE, 3),
        "link": (Kind.LINK, None),
        "pipe": (Kind.OTHER, None),
    }


def test_names_that_are_no_text_and_uploads_on_their_way_are_left_out(
    tree: Tree, root: Path
) -> None:
    (root / os.fsdecode(b"\xff")).touch()
    (root / partial_name()).touch()
    (root / "seen").touch()
    assert names(tree) == ["seen"]


@pytest.mark.parametrize("at", [-(2**40), 2**40])
def test_a_time_no_calendar_has_is_no_error(tree: Tree, root: Path, at: int) -> None:
    (root / "file").touch()
    os.utime(root / "file", (at, at))
    assert tree.list(()).entries[0].modified_at.year in {1970, 2446, 3000}


@pytest.mark.parametrize("target", ["..", "/etc", "../secret"])
def test_a_link_leads_nowhere(tree: Tree, root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    for deed in (
        lambda: tree.list(("link",)),
        lambda: tree.open_file(("link", "passwd")),
        lambda: tree.open_file(("link",)),
    ):
        with pytest.raises(NotFound):
            deed()


def test_a_pipe_is_no_file_and_holds_nobody_up(tree: Tree, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(NotFound):
        tree.open_file(("pipe",))


def test_folders_above_are_made_where_they_are_asked_for(tree: Tree, root: Path) -> None:
    with tree.folder(("a", "b", "c"), make=True) as fd:
        make_folder(fd, "d", None)
    assert (root / "a/b/c/d").is_dir()


def test_no_folder_is_made_through_a_link(tree: Tree, root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(NotFound, match="is no folder"), tree.folder(("link", "new"), make=True):
        pass
    assert not (tmp_path / "new").exists()


def test_a_move_gives_another_name_or_place(tree: Tree, root: Path) -> None:
    (root / "a").write_bytes(b"x")
    (root / "folder/inner").mkdir(parents=True)
    tree.move(("a",), ("folder", "b"))
    tree.move(("folder",), ("moved",))
    assert (root / "moved/b").read_bytes() == b"x"
    assert names(tree) == ["moved"]


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("target", ["other", "full"])
def test_a_move_replaces_nothing(tree: Tree, root: Path, source: str, target: str) -> None:
    for folder in ("folder", "full"):
        (root / folder).mkdir()
        (root / folder / "inside").touch()
    (root / "file").touch()
    (root / "other").write_bytes(b"stays")
    with pytest.raises(Conflict, match="already something called"):
        tree.move((source,), (target,))
    assert (root / source).exists()
    assert (root / "other").read_bytes() == b"stays"


@pytest.mark.parametrize("target", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_folder_is_not_moved_into_itself(tree: Tree, root: Path, target: tuple[str, ...]) -> None:
    (root / "a/b").mkdir(parents=True)
    with pytest.raises(Conflict, match="into itself"):
        tree.move(("a",), target)


def test_a_link_is_moved_itself(tree: Tree, root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path / "secret")
    tree.move(("link",), ("renamed",))
    assert (root / "renamed").readlink() == tmp_path / "secret"
    assert (tmp_path / "secret").read_bytes() == b"of somebody else"


def test_no_file_is_left_open(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    for _ in range(10):
        with Tree(root, None) as tree:
            tree.list(("a",))
            with pytest.raises(NotFound):
                tree.list(("a", "nothing"))
            tree.move(("a", "b"), ("a", "c"))
            tree.move(("a", "c"), ("a", "b"))
    Tree(root, None)
    assert open_below(root) == []
