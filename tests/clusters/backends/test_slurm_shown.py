"""What attempts on Slurm have written, as it is shown in a sandbox of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import EndReason, LaunchRefused, LaunchSpec, ReadFolder
from clusters.backends.local.backend import LocalBackend
from clusters.backends.slurm.backend import SlurmBackend
from tests.contracts.backend import ended, log_of, make_spec, run
from tests.contracts.folders import FoldersContract, KeepingEngine, keeping
from tests.slurm.lab import SlurmLab

pytestmark = [pytest.mark.slurm, pytest.mark.sandbox]
SECRET = "not for others"


@pytest.fixture
def slurm(slurm_lab: SlurmLab) -> SlurmBackend:
    return SlurmBackend(slurm_lab.settings)


@pytest.fixture
def home(slurm: SlurmBackend) -> Path:
    """The home of an attempt that has written `events`, for its own uid alone."""
    spec = make_spec("umask 077; echo loss > events")
    assert run(slurm, spec).exit_code == 0
    return slurm.folders_of(spec.external_name)["home"]


@pytest.fixture
def secret(root: Path) -> Path:
    """A folder all may read, if they only came to it."""
    folder = root / "secret"
    folder.mkdir()
    (folder / "events").write_text(f"{SECRET}\n")
    return folder


def reading(folder: Path, *, uid: int | None = None) -> LaunchSpec:
    """A spec that prints `events` there."""
    command = "cat /logs/home/events; touch /logs/home/x 2> /dev/null && echo written"
    shown = (ReadFolder(str(folder), "/logs/home"),)
    return replace(make_spec(f"{command}; true"), reads=shown, runs_as=uid)


def team_uid(slurm: SlurmBackend) -> int:
    """The uid of team 7 on the cluster."""
    owner = slurm.volume_owner(7)
    assert owner is not None
    return owner[0]


class TestSlurmFolders(FoldersContract):
    @pytest.fixture
    def keeper(self, slurm: SlurmBackend) -> KeepingEngine:
        return keeping(slurm)


def test_each_task_of_an_array_has_a_home_of_its_own(slurm: SlurmBackend) -> None:
    spec = make_spec("echo $FASTGPU_ARRAY_INDEX > index")
    slurm.submit_array(spec, size=2, at_once=2)
    for index in range(2):
        name = f"{spec.external_name}.{index}"
        assert ended(slurm, name).exit_code == 0
        assert (slurm.folders_of(name)["home"] / "index").read_text() == f"{index}\n"


def test_a_root_behind_a_link_is_named_by_its_real_path(
    slurm_lab: SlurmLab, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "cluster").symlink_to(slurm_lab.root)
    other = SlurmBackend(replace(slurm_lab.settings, root=tmp_path / "cluster"))
    assert other.folders_of(home.parents[2].name)["home"] == home


def test_it_is_read_as_the_clusters_user_and_not_changed(
    slurm: SlurmBackend, backend: LocalBackend, home: Path
) -> None:
    spec = reading(home, uid=team_uid(slurm))
    run(backend, spec)
    assert log_of(backend, spec.external_name) == b"loss\n"


def test_another_teams_user_reads_none_of_it(
    slurm: SlurmBackend, backend: LocalBackend, home: Path
) -> None:
    spec = reading(home, uid=team_uid(slurm) + 1)
    run(backend, spec)
    assert b"Permission denied" in log_of(backend, spec.external_name)


def test_nothing_is_run_as_root(backend: LocalBackend, home: Path) -> None:
    with pytest.raises(LaunchRefused, match="root"):
        backend.submit(reading(home, uid=0))


def test_a_link_in_its_place_is_not_followed(
    slurm: SlurmBackend, backend: LocalBackend, home: Path, secret: Path
) -> None:
    home.rename(home.with_name("moved"))
    home.symlink_to(secret)
    with pytest.raises(LaunchRefused, match="link"):
        backend.submit(reading(home, uid=team_uid(slurm)))


def test_no_exchange_ever_leads_elsewhere(
    slurm: SlurmBackend, backend: LocalBackend, home: Path, secret: Path
) -> None:
    """One process swaps the home and a link all the time; sandboxes are started on it."""
    swap = (
        "import ctypes, os, sys; os.chdir(sys.argv[1]); os.symlink(sys.argv[2], 'other')\n"
        "libc = ctypes.CDLL(None)\n"
        "while True: libc.renameat2(-100, b'home', -100, b'other', 2)\n"  # RENAME_EXCHANGE
    )
    swapper = subprocess.Popen([sys.executable, "-c", swap, str(home.parent), str(secret)])
    said: Counter[str] = Counter()
    try:
        while said["shown"] < 3 or said["refused"] < 3:
            spec = reading(home, uid=team_uid(slurm))
            try:
                end = run(backend, spec)
            except LaunchRefused:
                said["refused"] += 1
                continue
            log = log_of(backend, spec.external_name).decode()
            assert SECRET not in log
            if end.reason is EndReason.COMPLETED:
                assert log == "loss\n"
                said["shown"] += 1
            else:
                assert "could not start the sandbox" in log
                said["refused"] += 1
    finally:
        swapper.kill()
        swapper.wait()
