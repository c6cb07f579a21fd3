"""Job ids given out again: a slurmctld that is killed forgets the jobs of its last seconds."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.backends.base import BackendUnavailable, EndReason, Handle, Phase
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.cli import raise_for_submission
from clusters.backends.slurm.folders import Folders, Record
from clusters.backends.slurm.settings import SlurmSettings
from tests.slurm.fake import FakeTools, queue_line

SUBMITTED = 1_790_000_000
RECORD = Record(
    name="fg-a-1", user="fg-team7", uid=300_007, time_limit=600, nodes=1, tried_at=SUBMITTED,
    origin="fg-a-1", job_id="100",
)  # fmt: skip
NOTICED = SUBMITTED + 300
LATER = str(SUBMITTED + 9)


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return FakeTools(tmp_path)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Attempt 1 of run a was submitted as job 100 of team 7."""
    folders = Folders(tmp_path / "root")
    folders.create_tree()
    (folders.attempt("fg-a-1") / "in").mkdir(parents=True)
    folders.save(RECORD)
    return folders


@pytest.fixture
def backend(tools: FakeTools, folders: Folders) -> SlurmBackend:
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
    tools: FakeTools, folders: Folders, backend: SlurmBackend
) -> None:
    (folders.attempt("fg-a-2") / "in").mkdir(parents=True)
    folders.save(replace(RECORD, name="fg-a-2", restart=1))
    tools.says("squeue", queue_line(SubmitTime=LATER, RestartCnt="1"))
    assert backend.observe([Handle("fg-a-2")]).seen["fg-a-2"].phase is Phase.RUNNING


def test_a_connection_that_breaks_is_no_refusal() -> None:
    with pytest.raises(BackendUnavailable):
        raise_for_submission("sbatch: error: Batch job submission failed: Connection reset by peer")


@pytest.mark.parametrize(
    ("squeue", "sacct"),
    [
        (queue_line(State="NODE_FAIL", EndTime=str(NOTICED)), ""),
        (
            queue_line(State="PENDING", RestartCnt="1", Reason="BeginTime"),
            f"100|100|fg-team7|NODE_FAIL|0:0|{SUBMITTED}|{SUBMITTED}|{NOTICED}|gpu1|fg-a-1\n",
        ),
    ],
    ids=["not put back", "put back"],
)
def test_a_run_whose_node_is_lost_is_charged_until_its_last_sign_of_life(
    tools: FakeTools, folders: Folders, backend: SlurmBackend, squeue: bytes, sacct: str
) -> None:
    folders.save(replace(RECORD, uid=os.getuid()))
    place = folders.attempt("fg-a-1") / "work" / "0"
    place.mkdir(parents=True)
    (place / "started").write_text(f"{SUBMITTED + 0.5}\n")
    (place / "alive").touch()
    os.utime(place / "alive", (SUBMITTED + 7.25, SUBMITTED + 7.25))
    tools.says("squeue", squeue)
    tools.says("sacct", sacct.encode())
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert end.reason is EndReason.NODE_LOST
    assert end.ended_at == datetime.fromtimestamp(SUBMITTED + 7.25, UTC)


def test_what_heeded_a_stop_is_charged_until_then_however_late_slurm_learns_of_it(
    tools: FakeTools, folders: Folders, backend: SlurmBackend
) -> None:
    folders.save(replace(RECORD, uid=os.getuid()))
    place = folders.attempt("fg-a-1") / "work" / "0"
    place.mkdir(parents=True)
    (place / "started").write_text(f"{SUBMITTED + 0.5}\n")
    (place / "ended").write_text(f"{SUBMITTED + 9.5} 143\n")
    folders.request_stop(RECORD, grace_seconds=5)
    os.utime(folders.attempt("fg-a-1") / "in" / "stop", (SUBMITTED + 9, SUBMITTED + 9))
    tools.says("squeue", queue_line(State="FAILED", exit_code="36608", EndTime=str(NOTICED)))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert end.reason is EndReason.STOPPED
    assert end.ended_at == datetime.fromtimestamp(SUBMITTED + 9.5, UTC)


@pytest.mark.parametrize(
    ("ended", "charged_until"),
    [
        pytest.param(91.5, 91.5, id="Slurm was told late"),
        pytest.param(84.0, 100.0, id="too early to be believed"),
        pytest.param(104.0, 104.0, id="within the slack"),
        pytest.param(106.0, 100.0, id="too late to be believed"),
    ],
)
def test_the_end_the_wrapper_wrote_counts_when_slurm_can_have_been_told_late(
    tools: FakeTools,
    folders: Folders,
    backend: SlurmBackend,
    ended: float,
    charged_until: float,
) -> None:
    folders.save(replace(RECORD, uid=os.getuid()))
    place = folders.attempt("fg-a-1") / "work" / "0"
    place.mkdir(parents=True)
    (place / "started").write_text(f"{SUBMITTED + 0.5}\n")
    (place / "ended").write_text(f"{SUBMITTED + ended} 0\n")
    line = queue_line(State="COMPLETED", exit_code="0", EndTime=str(SUBMITTED + 100))
    tools.says("squeue", line)
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert end.ended_at == datetime.fromtimestamp(SUBMITTED + charged_until, UTC)


@pytest.mark.parametrize(
    ("node", "charged_until"),
    [
        pytest.param(f"State=IDLE SlurmdStartTime={SUBMITTED + 20}", 7.25, id="it was away"),
        pytest.param(f"State=DOWN* SlurmdStartTime={SUBMITTED - 20}", 7.25, id="it is away"),
        pytest.param(f"State=MIXED SlurmdStartTime={SUBMITTED - 20}", 40, id="it never was"),
    ],
)
def test_what_is_stopped_on_a_node_that_had_died_is_charged_until_its_last_sign_of_life(
    tools: FakeTools, folders: Folders, backend: SlurmBackend, node: str, charged_until: float
) -> None:
    folders.save(replace(RECORD, uid=os.getuid()))
    place = folders.attempt("fg-a-1") / "work" / "0"
    place.mkdir(parents=True)
    (place / "started").write_text(f"{SUBMITTED + 0.5}\n")
    (place / "alive").touch()
    os.utime(place / "alive", (SUBMITTED + 7.25, SUBMITTED + 7.25))
    folders.request_stop(RECORD, grace_seconds=5)
    os.utime(folders.attempt("fg-a-1") / "in" / "stop", (SUBMITTED + 30, SUBMITTED + 30))
    tools.says("squeue", queue_line(State="CANCELLED", EndTime=str(SUBMITTED + 40)))
    tools.says("scontrol", f"NodeName=gpu1 {node}\n".encode())
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert end.reason is EndReason.STOPPED
    assert end.ended_at == datetime.fromtimestamp(SUBMITTED + charged_until, UTC)
