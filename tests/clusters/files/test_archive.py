"""A folder as a zip file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from clusters.files.archive import zip_pieces
from clusters.files.tree import Tree
from clusters.files.walk import MOST_ENTRIES, count
from portal.lib.errors import NotFound
from tests.descriptors import open_below


def zipped(root: Path, *folder: str, names: list[str] | None = None) -> zipfile.ZipFile:
    whole = b"".join(zip_pieces(Tree(root, None), folder, names))
    archive = zipfile.ZipFile(io.BytesIO(whole))
    assert archive.testzip() is None
    return archive


def test_it_holds_all_files_with_their_times_and_modes(root: Path) -> None:
    (root / "data/empty").mkdir(parents=True)
    (root / "data/größe.txt").write_bytes(b"text" * 100_000)
    (root / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    os.utime(root / "run.sh", (1_700_000_000, 1_700_000_000))
    archive = zipped(root)
    assert archive.namelist() == ["data/", "data/empty/", "data/größe.txt", "run.sh"]
    assert archive.read("data/größe.txt") == b"text" * 100_000
    program = archive.getinfo("run.sh")
    assert program.external_attr >> 16 & 0o777 == 0o755
    assert program.date_time == (2023, 11, 14, 22, 13, 20)


def test_a_folder_or_some_names_of_it_can_be_chosen(root: Path) -> None:
    for path in ("a/b", "a/c", "a/d/e", "f"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    assert zipped(root, "a").namelist() == ["b", "c", "d/", "d/e"]
    assert zipped(root, "a", names=["d", "b"]).namelist() == ["b", "d/", "d/e"]


def test_links_and_pipes_are_left_out(root: Path, tmp_path: Path) -> None:
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    (root / "kept").touch()
    assert zipped(root).namelist() == ["kept"]


def test_times_before_1980_are_no_error(root: Path) -> None:
    (root / "a").touch()
    os.utime(root / "a", (0, 0))
    assert zipped(root).getinfo("a").date_time[0] == 1980


def test_it_is_made_as_it_is_read(root: Path) -> None:
    (root / "large").write_bytes(os.urandom(3 * 1024**2))
    pieces = list(zip_pieces(Tree(root, None), (), None))
    assert len(pieces) > 10
    assert max(len(piece) for piece in pieces) < 600_000


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip")
def test_other_programs_read_it(root: Path, tmp_path: Path) -> None:
    (root / "a").write_bytes(b"x" * 1000)
    target = tmp_path / "all.zip"
    target.write_bytes(b"".join(zip_pieces(Tree(root, None), (), None)))
    subprocess.run(["unzip", "-tq", target], check=True, capture_output=True)


def test_sizes_of_more_than_32_bits_are_said_in_64(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(5 * 1024**3)
    pieces = zip_pieces(Tree(root, None), (), None)
    head = next(pieces)
    pieces.close()
    version_needed = int.from_bytes(head[4:6], "little")
    assert version_needed == 45


def test_entries_are_counted_no_further_than_need_be(tree: Tree, root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/c").touch()
    assert count(tree, (), None) == 3
    assert count(tree, ("a",), ["c"]) == 1
    assert MOST_ENTRIES == 50_000


@pytest.mark.parametrize("names", [[], ["nothing"]])
def test_what_is_not_there_is_not_found(tree: Tree, names: list[str]) -> None:
    with pytest.raises(NotFound):
        count(tree, (), names)


def test_cut_off_it_lets_go_of_everything(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c").write_bytes(b"x" * 1024**2)
    pieces = zip_pieces(Tree(root, None), (), None)
    next(pieces)
    assert open_below(root)
    pieces.close()
    assert open_below(root) == []
