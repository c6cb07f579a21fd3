"""What every engine that keeps volumes must do, as a class that each engine's tests inherit."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from clusters.backends.capabilities import Volumes

TEAM, OTHER_TEAM = 7, 8
_serial = count()


class VolumesContract:
    """Inherit and give a `volumes` fixture."""

    @pytest.fixture
    def name(self) -> str:
        """A volume nobody made yet."""
        return f"vol_test{os.getpid()}x{next(_serial)}"

    def test_a_volume_is_an_empty_folder(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        assert list(volumes.volume_path(name).iterdir()) == []

    def test_making_it_again_keeps_what_is_in_it(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        (volumes.volume_path(name) / "model.bin").write_bytes(b"kept")
        volumes.make_volume(name, team_number=TEAM)
        assert (volumes.volume_path(name) / "model.bin").read_bytes() == b"kept"

    def test_it_belongs_to_whom_the_team_runs_as(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        info = volumes.volume_path(name).stat()
        owner = volumes.volume_owner(TEAM) or (os.geteuid(), os.getegid())
        assert (info.st_uid, info.st_gid) == owner

    def test_teams_have_owners_of_their_own_or_all_the_portal(self, volumes: Volumes) -> None:
        ours, others = volumes.volume_owner(TEAM), volumes.volume_owner(OTHER_TEAM)
        assert (ours is None and others is None) or ours != others

    def test_the_owner_is_never_root(self, volumes: Volumes) -> None:
        owner = volumes.volume_owner(TEAM)
        assert owner is None or 0 not in owner

    def test_where_it_lies_is_known_before_it_is_made(self, volumes: Volumes, name: str) -> None:
        path = volumes.volume_path(name)
        volumes.make_volume(name, team_number=TEAM)
        assert volumes.volume_path(name) == path

    def test_volumes_are_apart(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        volumes.make_volume(f"{name}2", team_number=TEAM)
        (volumes.volume_path(name) / "here").touch()
        assert list(volumes.volume_path(f"{name}2").iterdir()) == []

    def test_an_erased_volume_is_gone(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        (volumes.volume_path(name) / "a").mkdir()
        (volumes.volume_path(name) / "a" / "b").write_bytes(b"x")
        volumes.erase_volume(name)
        assert not volumes.volume_path(name).exists()

    def test_erasing_may_be_repeated(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        for _ in range(2):
            volumes.erase_volume(name)

    def test_erasing_what_never_was_is_no_error(self, volumes: Volumes, name: str) -> None:
        volumes.erase_volume(name)

    def test_erasing_follows_no_link(self, volumes: Volumes, name: str, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(b"not ours")
        volumes.make_volume(name, team_number=TEAM)
        (volumes.volume_path(name) / "link").symlink_to(tmp_path)
        volumes.erase_volume(name)
        assert (tmp_path / "other").read_bytes() == b"not ours"

    def test_erasing_copes_with_closed_folders_and_odd_names(
        self, volumes: Volumes, name: str
    ) -> None:
        volumes.make_volume(name, team_number=TEAM)
        closed = volumes.volume_path(name) / "closed"
        closed.mkdir()
        (closed / "line\nbreak").touch()
        (closed / os.fsdecode(b"\xff\xfe")).touch()
        os.mkfifo(closed / "pipe")
        closed.chmod(0)
        volumes.erase_volume(name)
        assert not volumes.volume_path(name).exists()

    def test_erasing_copes_with_any_depth(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        dig(volumes.volume_path(name), depth=1500)
        volumes.erase_volume(name)
        assert not volumes.volume_path(name).exists()

    def test_an_erased_volume_can_be_made_anew(self, volumes: Volumes, name: str) -> None:
        volumes.make_volume(name, team_number=TEAM)
        (volumes.volume_path(name) / "old").touch()
        volumes.erase_volume(name)
        volumes.make_volume(name, team_number=TEAM)
        assert list(volumes.volume_path(name).iterdir()) == []


def dig(path: Path, *, depth: int) -> None:
    """Folders in folders, deeper than any path can say."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
