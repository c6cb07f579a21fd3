"""Job ids given out again: a slurmctld that is killed forgets the jobs of its last seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import BackendUnavailable, Handle, Phase
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.cli import raise_for_submission
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.settings import SlurmSettings
from tests.slurm.fake import FakeTools, queue_line

SUBMITTED = 1_790_000_000
RECORD = Record(
    name="fg-a-1", user="fg-team7", uid=300_007, time_limit=600, nodes=1, tried_at=SUBMITTED,
    origin="fg-a-1", job_id="100",
)  # fmt: skip
LATER = str(SUBMITTED + 9)


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return FakeTools(tmp_path)


@pytest.fixture
def folders(tmp_path: Path) -> SharedFolder:
    """Attempt 1 of run a was submitted as job 100 of team 7."""
    folders = SharedFolder(tmp_path / "root")
    folders.create_tree()
    (folders.attempt("fg-a-1") / "in").mkdir(parents=True)
    folders.save(RECORD)
    return folders


@pytest.fixture
def backend(tools: FakeTools, folders: SharedFolder) -> SlurmBackend:
    return SlurmBackend(SlurmSettings(root=folders.root, bin=tools.folder))


@pytest.mark.parametrize("restarts", ["0", "1"])
def test_another_run_of_the_team_under_our_id_is_not_ours(
    tools: FakeTools, backend: SlurmBackend, restarts: str
) -> None:
    tools.says("squeue", queue_line(Name="fg-b-1", SubmitTime=LATER, RestartCnt=restarts))
    assert backend.observe([Handle("fg-a-1")]).seen == {}


@pytest.mark.parametrize("name", ["fg-b-1", "allocation"])
def test_nor_is_its_end_in_the_accounts(tools: FakeTools, backend: SlurmBackend, name: str) -> None:
    row = f"100|100|fg-team7|COMPLETED|0:0|{LATER}|{LATER}|{LATER}|gpu1|{name}\n"
    tools.says("sacct", row.encode())
    assert backend.observe([Handle("fg-a-1")]).seen == {}


def test_our_own_end_is_found_in_the_accounts_of_a_reused_id(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    earlier = str(SUBMITTED - 60)
    theirs = f"100|100|fg-team7|FAILED|1:0|{earlier}|{earlier}|{earlier}|gpu1|fg-b-1\n"
    ours = f"100|100|fg-team7|COMPLETED|0:0|{SUBMITTED}|{LATER}|{LATER}|gpu1|fg-a-1\n"
    tools.says("sacct", f"{theirs}{ours}".encode())
    assert backend.observe([Handle("fg-a-1")]).seen["fg-a-1"].exit_code == 0


def test_it_is_not_stopped_in_our_place(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("squeue", queue_line(Name="fg-b-1", SubmitTime=LATER))
    backend.stop("fg-a-1", grace_seconds=5)
    assert tools.calls("scancel") == []


def test_a_stop_names_the_job_for_its_id_may_be_anothers_when_slurm_hears_of_it(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    tools.says("squeue", queue_line(Name="renamed"))
    backend.stop("fg-a-1", grace_seconds=5)
    assert tools.calls("scancel")
    assert all(" --name=renamed " in call for call in tools.calls("scancel"))


def test_a_job_renamed_to_another_run_by_its_user_stays_ours(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    tools.says("squeue", queue_line(Name="fg-b-1"))
    assert backend.observe([Handle("fg-a-1")]).seen["fg-a-1"].phase is Phase.RUNNING


def test_a_job_that_is_being_handed_over_has_the_name_of_the_attempt_before(
    tools: FakeTools, folders: SharedFolder, backend: SlurmBackend
) -> None:
    (folders.attempt("fg-a-2") / "in").mkdir(parents=True)
    folders.save(replace(RECORD, name="fg-a-2", restart=1))
    tools.says("squeue", queue_line(SubmitTime=LATER, RestartCnt="1"))
    assert backend.observe([Handle("fg-a-2")]).seen["fg-a-2"].phase is Phase.RUNNING


def test_a_connection_that_breaks_is_no_refusal() -> None:
    with pytest.raises(BackendUnavailable):
        raise_for_submission("sbatch: error: Batch job submission failed: Connection reset by peer")
