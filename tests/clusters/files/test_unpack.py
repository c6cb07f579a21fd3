"""Archives that were made to do harm, and ordinary ones."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from clusters.files.tree import Tree
from clusters.files.unpack import plan, unpack
from clusters.files.upload import OnConflict, Upload
from clusters.files.walk import MOST_ENTRIES
from portal.lib.errors import Conflict, InvalidInput, TooLarge
from tests.clusters.files.conftest import names_in

MIB = 1024**2


class Room:
    """Room for so many bytes."""

    def __init__(self, left: int = 100 * MIB) -> None:
        self.left = left

    def take(self, size: int) -> None:
        if size > self.left:
            raise TooLarge("full")
        self.left -= size

    def give_back(self, size: int) -> None:
        self.left += size


def archive(
    *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as target:
        for name, data in entries:
            target.writestr(name, data)
    return made.getvalue()


def unpacked(
    tree: Tree,
    data: bytes,
    *target: str,
    how: OnConflict = OnConflict.FAIL,
    room: Room | None = None,
) -> str:
    """Unpack `data` as an upload would; the folder it became."""
    one = Upload(tree, ())
    try:
        one.write(data)
        with one.reader() as file:
            steps = unpack(
                plan(file), tree, target or ("out",), on_conflict=how, room=room or Room()
            )
            *_, name = steps
        return str(name)
    finally:
        one.abandon()


def refused(tree: Tree, root: Path, data: bytes, words: str, error: Any = InvalidInput) -> None:
    room = Room()
    with pytest.raises(error, match=words):
        unpacked(tree, data, room=room)
    assert names_in(root) == []
    assert room.left == 100 * MIB


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system = 3
    made.external_attr = mode << 16
    return made


def test_files_and_folders_come_out(tree: Tree, root: Path) -> None:
    room = Room()
    data = archive(("a/b.txt", b"1" * 1000), ("a/empty/", b""), ("größe", b"2"))
    assert unpacked(tree, data, room=room) == "out"
    assert (root / "out/a/b.txt").read_bytes() == b"1" * 1000
    assert (root / "out/größe").read_bytes() == b"2"
    assert (root / "out/a/empty").is_dir()
    assert names_in(root) == ["out"]
    assert room.left == 100 * MIB - 1001


def test_programs_stay_programs_and_nothing_is_more_than_that(tree: Tree, root: Path) -> None:
    unpacked(tree, archive((entry("run", stat.S_IFREG | 0o4777), b"x"), ("plain", b"x")))
    assert (root / "out/run").stat().st_mode & 0o7777 == 0o755
    assert (root / "out/plain").stat().st_mode & 0o7777 == 0o644
    assert (root / "out").stat().st_mode & 0o7777 == 0o755


def test_it_tells_how_far_it_is(tree: Tree) -> None:
    one = Upload(tree, ())
    one.write(archive(*((f"{number}", b"") for number in range(450))))
    with one.reader() as file:
        steps = list(unpack(plan(file), tree, ("out",), on_conflict=OnConflict.FAIL, room=Room()))
    one.abandon()
    assert steps == [200, 400, 450, "out"]


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "a//b", "..", "a\\..\\evil", "C:\\evil", "a/./b"],
)
def test_no_entry_leads_out_of_the_folder(tree: Tree, root: Path, name: str) -> None:
    refused(tree, root, archive(("fine", b"x"), (name, b"x")), "The archive names")


@pytest.mark.parametrize("name", ["a\nb", "x" * 256, "d/" * 70 + "deep"])
def test_no_entry_has_a_name_we_would_not_give(tree: Tree, root: Path, name: str) -> None:
    refused(tree, root, archive((name, b"x")), "The archive names")


def test_names_cut_short_by_a_nul_are_refused(tree: Tree, root: Path) -> None:
    data = archive(("good.txtX../evil", b"x")).replace(b"good.txtX", b"good.txt\0")
    refused(tree, root, data, "The archive names")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_come_once(tree: Tree, root: Path) -> None:
    refused(tree, root, archive(("a", b"1"), ("a", b"2")), "names a twice")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/", "a")])
def test_nothing_is_a_file_and_a_folder(tree: Tree, root: Path, names: tuple[str, str]) -> None:
    data = archive(*((name, b"") for name in names))
    refused(tree, root, data, "as a file and as a folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_left_out_and_counted(tree: Tree, root: Path, kind: int) -> None:
    data = archive((entry("link", kind | 0o777), b"/etc/passwd"), ("file", b"x"))
    one = Upload(tree, ())
    one.write(data)
    with one.reader() as file:
        assert plan(file).left_out == 1
    one.abandon()
    unpacked(tree, data)
    assert names_in(root / "out") == ["file"]


def test_what_comes_after_a_link_is_not_written_through_it(tree: Tree, root: Path) -> None:
    data = archive((entry("a", stat.S_IFLNK | 0o777), b"/tmp"), ("a/evil", b"x"))
    unpacked(tree, data)
    assert (root / "out/a").is_dir()
    assert not (root / "out/a").is_symlink()
    assert (root / "out/a/evil").read_bytes() == b"x"


def test_encrypted_archives_are_refused(tree: Tree, root: Path) -> None:
    data = bytearray(archive(("a", b"x")))
    for offset, signature in ((6, b"PK\x03\x04"), (8, b"PK\x01\x02")):
        data[data.index(signature) + offset] |= 1
    refused(tree, root, bytes(data), "encrypted")


def test_other_ways_of_compression_are_refused(tree: Tree, root: Path) -> None:
    refused(tree, root, archive(("a", b"x" * 100), method=zipfile.ZIP_LZMA), "Use plain zip")


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive at all" * 100])
def test_what_is_no_archive_is_said(tree: Tree, root: Path, data: bytes) -> None:
    refused(tree, root, data, "no zip file")


def test_damage_leaves_nothing(tree: Tree, root: Path) -> None:
    data = bytearray(archive(("a", b"1"), ("b", os.urandom(1000)), method=zipfile.ZIP_STORED))
    data[100] ^= 0xFF
    refused(tree, root, bytes(data), "is damaged. Nothing was unpacked")


def test_a_bomb_is_refused_before_it_goes_off(tree: Tree, root: Path) -> None:
    bomb = archive(("zeros", bytes(100 * MIB)))
    assert len(bomb) < MIB // 4
    refused(tree, root, bomb, "beyond measure", TooLarge)


def test_entries_that_share_their_bytes_count_each(tree: Tree, root: Path) -> None:
    """Many names for one piece of compressed data, as the densest bombs have it."""
    whole = archive(("a", bytes(MIB)))
    at = whole.index(b"PK\x01\x02")
    head, index, end = whole[:at], whole[at:-22], whole[-22:]
    entries = b"".join(index.replace(b"a", bytes([97 + n % 26]) * 1, 1) for n in range(26)) * 10
    count = 260
    end = end[:8] + struct.pack("<HHII", count, count, len(entries), at) + end[20:]
    refused(
        tree, root, head + entries + end, "beyond measure|damaged|twice", (TooLarge, InvalidInput)
    )


def test_more_than_it_says_never_comes_out(tree: Tree, root: Path) -> None:
    data = bytearray(archive(("a", b"x" * 10_000)))
    for offset, signature in ((22, b"PK\x03\x04"), (24, b"PK\x01\x02")):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    refused(tree, root, bytes(data), "is damaged")


def test_quota_is_kept_to_before_anything_is_written(tree: Tree, root: Path) -> None:
    room = Room(left=5_000)
    with pytest.raises(TooLarge):
        unpacked(tree, archive(("a", os.urandom(3_000)), ("b", os.urandom(3_000))), room=room)
    assert room.left == 5_000
    assert names_in(root) == []


def test_too_many_entries_are_refused(tree: Tree, root: Path) -> None:
    data = archive(*((f"{number}", b"") for number in range(MOST_ENTRIES + 1)))
    refused(tree, root, data, "50,001 files; at most 50,000", TooLarge)


def test_an_index_larger_than_any_of_ours_is_not_read(tree: Tree, root: Path) -> None:
    data = archive(*((f"{number:030000}", b"") for number in range(600)))
    refused(tree, root, data, "names more than", TooLarge)


def test_a_folder_that_is_there_is_left_alone(tree: Tree, root: Path) -> None:
    (root / "out").mkdir()
    (root / "out/mine").touch()
    room = Room()
    with pytest.raises(Conflict, match="already something called out"):
        unpacked(tree, archive(("a", b"x")), room=room)
    assert (names_in(root), names_in(root / "out")) == (["out"], ["mine"])
    assert room.left == 100 * MIB


def test_or_another_name_is_found(tree: Tree, root: Path) -> None:
    (root / "out").touch()
    assert unpacked(tree, archive(("a", b"x")), how=OnConflict.KEEP_BOTH) == "out (2)"
    assert names_in(root) == ["out", "out (2)"]


def test_given_up_halfway_it_leaves_nothing(tree: Tree, root: Path) -> None:
    one = Upload(tree, ())
    one.write(archive(*((f"f/{number}", b"x") for number in range(500))))
    room = Room()
    with one.reader() as file:
        steps = unpack(plan(file), tree, ("out",), on_conflict=OnConflict.FAIL, room=room)
        next(steps)
        steps.close()
    one.abandon()
    assert names_in(root) == []
    assert room.left == 100 * MIB


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_all_of_it_belongs_to_the_owner_of_the_volume(root: Path) -> None:
    with Tree(root, (210_007, 210_007)) as tree:
        unpacked(tree, archive(("a/b/c", b"x"), ("d/", b"")))
    for path in [root / "out", *(root / "out").rglob("*")]:
        info = path.stat()
        assert (info.st_uid, info.st_gid) == (210_007, 210_007), path
