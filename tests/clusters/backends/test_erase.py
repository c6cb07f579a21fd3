"""Deleting trees that were made to be hard to delete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.backends.erase import clear, erase

NOBODY = 65_534
ERASE = (
    "import os, sys; from clusters.backends.erase import erase\n"
    "os.chdir(sys.argv[1]); uid = int(sys.argv[2])\n"
    "if uid != os.geteuid(): os.setgroups([]); os.setresgid(uid, uid, uid); os.setuid(uid)\n"
    "erase('tree')"
)
TOP = Path(__file__).parents[3]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone afterwards even if our own erasing is broken."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def deep(folder: Path, levels: int) -> None:
    """A chain of folders with a file at its end, too long for any path."""
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=fd)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("end", os.O_CREAT, dir_fd=fd))
    os.close(fd)


def wide(folder: Path, files: int) -> None:
    """Many files and folders beside each other."""
    for index in range(files):
        (folder / f"f{index}").touch()
        if index % 10 == 0:
            (folder / f"d{index}" / "e").mkdir(parents=True)
            (folder / f"d{index}" / "e" / "f").touch()


def closed(folder: Path) -> None:
    """Folders that nobody may read, write or enter, inside each other."""
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "b" / "c" / "file").write_text("x")
    for name in ("a/b/c", "a/b", "a", "."):
        (folder / name).chmod(0)


def odd(folder: Path) -> None:
    """All kinds of files, and names that are no text."""
    (folder / "link").symlink_to("/etc")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    Path(folder, os.fsdecode(b"\xff\xfe")).mkdir()
    os.link(folder / "fifo", folder / "again")


TREES: list[Callable[[Path], None]] = [
    lambda folder: deep(folder, 1000),
    lambda folder: wide(folder, 5_000),
    closed,
    odd,
]


@pytest.mark.parametrize("make", TREES, ids=["deep", "wide", "closed", "odd"])
@pytest.mark.parametrize("uid", [os.geteuid(), NOBODY], ids=["as oneself", "as nobody"])
def test_nothing_is_left(tmp_path: Path, make: Callable[[Path], None], uid: int) -> None:
    if uid != os.geteuid() and os.geteuid() != 0:
        pytest.skip("needs root")
    tree = tmp_path / "tree"
    tree.mkdir()
    make(tree)
    subprocess.run(["chown", "-Rh", f"{uid}", tmp_path], check=True)
    assert erasing(tmp_path, uid).wait() == 0
    assert list(tmp_path.iterdir()) == []


def erasing(place: Path, uid: int) -> subprocess.Popen[bytes]:
    """A process that erases the tree in `place`."""
    return subprocess.Popen([sys.executable, "-c", ERASE, str(place), str(uid)], cwd=TOP)


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "up").symlink_to(outside)
    erase(tree)
    assert (outside / "kept").read_text() == "kept"
    (tmp_path / "way").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        erase(tmp_path / "way")
    assert (outside / "kept").read_text() == "kept"


def test_it_may_be_gone_already(tmp_path: Path) -> None:
    erase(tmp_path / "never-was")
    clear(tmp_path / "never-was")


def test_clearing_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    deep(tree, 1000)
    wide(tree, 1000)
    kills = 0
    while tree.exists():
        begun = erasing(tmp_path, os.geteuid())
        deadline = time.monotonic() + 0.03 + 0.02 * kills
        while begun.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if begun.poll() is None:
            begun.send_signal(signal.SIGKILL)
            kills += 1
        begun.wait()
    assert kills > 0
