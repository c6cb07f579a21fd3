"""What every engine whose attempts' files lie here must do; each engine's tests inherit it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from clusters.backends.base import Backend, LaunchSpec
from clusters.backends.capabilities import Folders, Volumes
from tests.contracts.backend import make_spec, run

TEAM = 7


class KeepingEngine(Backend, Folders, Volumes):
    """For types: an engine that is all of it."""


def keeping(backend: Backend) -> KeepingEngine:
    """The engine, as the contract calls it."""
    return cast(KeepingEngine, backend)


class FoldersContract:
    """Inherit and give a `keeper` fixture."""

    @pytest.fixture
    def wrote(self, keeper: KeepingEngine) -> LaunchSpec:
        """An attempt with a volume that has written into all it has, and has ended."""
        spec = make_spec(
            "echo 1 > ~/out; echo 2 > $FASTGPU_CHECKPOINT_DIR/step; echo 3 > $FASTGPU_WORKSPACE/in",
            team=TEAM,
        )
        volume = f"vol_{spec.external_name}"
        keeper.make_volume(volume, team_number=TEAM)
        made = replace(spec, volume=volume, run_id=spec.external_name)
        assert run(keeper, made).exit_code == 0
        return made

    def test_in_each_lies_what_was_written_there(
        self, keeper: KeepingEngine, wrote: LaunchSpec
    ) -> None:
        folders = keeper.folders_of(wrote.external_name)
        assert set(folders) == {"home", "checkpoints", "workspace"}
        files = {"home": "out", "checkpoints": "step", "workspace": "in"}
        read = {name: (folders[name] / file).read_text() for name, file in files.items()}
        assert read == {"home": "1\n", "checkpoints": "2\n", "workspace": "3\n"}

    def test_their_paths_hold_no_links(self, keeper: KeepingEngine, wrote: LaunchSpec) -> None:
        for path in keeper.folders_of(wrote.external_name).values():
            assert Path(path).resolve() == path

    def test_they_are_the_teams(self, keeper: KeepingEngine, wrote: LaunchSpec) -> None:
        owner = keeper.volume_owner(TEAM)
        for path in keeper.folders_of(wrote.external_name).values():
            assert owner is None or path.stat().st_uid == owner[0]

    def test_without_a_volume_there_is_no_workspace(self, keeper: KeepingEngine) -> None:
        spec = make_spec("true", team=TEAM)
        run(keeper, spec)
        assert set(keeper.folders_of(spec.external_name)) == {"home", "checkpoints"}

    def test_what_never_was_has_none(self, keeper: KeepingEngine) -> None:
        assert keeper.folders_of("fg-never-was") == {}
