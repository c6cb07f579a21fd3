"""Volumes on a cluster's shared folder."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from itertools import count

import pytest

from clusters.backends.base import BackendUnavailable, LaunchRefused, LaunchSpec, Phase
from clusters.backends.capabilities import Volumes
from clusters.backends.slurm.backend import SlurmBackend
from tests.contracts.backend import MIB, log_of, look, make_spec, run, wait_for
from tests.contracts.volumes import VolumesContract
from tests.slurm.lab import SlurmLab
from tests.stacks.environments import prepared

pytestmark = pytest.mark.slurm
_serial = count()


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    return SlurmBackend(slurm_lab.settings)


@pytest.fixture
def volume(backend: SlurmBackend) -> str:
    """A volume of team 7."""
    name = f"vol_slurm{next(_serial)}"
    backend.make_volume(name, team_number=7)
    return name


def with_volume(command: str, volume: str, *, team: int = 7) -> LaunchSpec:
    """A spec that mounts it."""
    return replace(make_spec(command, team=team), volume=volume)


class TestSlurmVolumes(VolumesContract):
    """What every engine that keeps volumes must do."""

    @pytest.fixture
    def volumes(self, backend: SlurmBackend) -> Volumes:
        return backend


def test_what_lies_in_it_outlives_the_attempt(backend: SlurmBackend, volume: str) -> None:
    first = with_volume('echo 41 > step; pwd; echo "$FASTGPU_WORKSPACE"; echo out > ~/out', volume)
    run(backend, first)
    path = backend.volume_path(volume)
    assert log_of(backend, first.external_name) == f"{path}\n{path}\n".encode()
    assert [file.path for file in backend.list_files(first.external_name)] == ["out"]
    second = with_volume("cat $FASTGPU_WORKSPACE/step; ls -A ~", volume)
    run(backend, second)
    assert log_of(backend, second.external_name) == b"41\n"


def test_every_node_of_several_starts_in_it(backend: SlurmBackend, volume: str) -> None:
    spec = with_volume("touch rank$NODE_RANK", volume)
    assert run(backend, replace(spec, nodes=2)).exit_code == 0
    names = sorted(path.name for path in backend.volume_path(volume).iterdir())
    assert names == ["rank0", "rank1"]


def test_it_is_the_teams_alone(backend: SlurmBackend, volume: str) -> None:
    path = backend.volume_path(volume)
    (path / "file").write_text("mine")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    spy = make_spec(f"ls {path.parent}; ls {path}; cat {path}/file; echo end", team=8)
    run(backend, spy)
    log = log_of(backend, spy.external_name)
    assert log.count(b"Permission denied") == 3
    assert b"mine" not in log
    with pytest.raises(LaunchRefused, match="another team"):
        backend.submit(with_volume("cat file", volume, team=8))


@pytest.mark.timeout(120)
def test_a_notebook_of_a_volume_runs_without_a_browser(slurm_lab: SlurmLab, volume: str) -> None:
    backend = SlurmBackend(replace(slurm_lab.settings, environments=prepared("lab")))
    cell: dict[str, object] = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": [],
            "execution_count": None, "source": "print(6 * 7)"}  # fmt: skip
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    path = backend.volume_path(volume)
    (path / "daily.ipynb").write_text(json.dumps(notebook))
    (path / "daily.ipynb").chmod(0o644)
    spec = with_volume("exec python -m fastgpu.run_notebook -- daily.ipynb out.ipynb", volume)
    limits = replace(spec.limits, memory_bytes=512 * MIB, pids=512)
    spec = replace(spec, environment="lab", time_limit_seconds=90, limits=limits)
    backend.submit(spec)
    wait_for(lambda: look_end(backend, spec.external_name), 90)
    assert b"42" in log_of(backend, spec.external_name)
    (output,) = json.loads((path / "out.ipynb").read_text())["cells"][0]["outputs"]
    assert output["text"] == ["42\n"]


def look_end(backend: SlurmBackend, name: str) -> bool:
    """Whether it has ended."""
    seen = look(backend, name)
    return seen is not None and seen.phase is Phase.ENDED


@pytest.mark.parametrize("name", ["vol_never", "..", "../attempts"])
def test_what_is_no_volume_is_refused(backend: SlurmBackend, name: str) -> None:
    with pytest.raises(LaunchRefused):
        backend.submit(with_volume("true", name))


def test_what_mounts_none_has_no_workspace(backend: SlurmBackend) -> None:
    spec = make_spec('echo "[$FASTGPU_WORKSPACE]"', env={"FASTGPU_WORKSPACE": "/tmp"})
    run(backend, spec)
    assert log_of(backend, spec.external_name) == b"[]\n"


def test_for_a_team_without_a_user_it_cannot_be_made_yet(slurm_lab: SlurmLab) -> None:
    settings = replace(slurm_lab.settings, create_users=False, user_template="fg-nobody{number}")
    with pytest.raises(BackendUnavailable, match="no Unix user"):
        SlurmBackend(settings).make_volume("vol_none", team_number=7)
