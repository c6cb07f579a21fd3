"""What the Slurm backend makes of squeue and sacct, whatever these say."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.backends.base import BackendUnavailable, EndReason, Handle, Phase, WaitCause
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.listing import parse_queue
from clusters.backends.slurm.settings import SlurmSettings
from clusters.backends.slurm.states import wait_for
from tests.slurm.fake import FakeTools, queue_line

SUBMITTED = 1_790_000_000
RECORD = Record(
    name="fg-a-1",
    user="fg-team7",
    uid=300_007,
    time_limit=600,
    nodes=1,
    tried_at=SUBMITTED,
    origin="fg-a-1",
    job_id="100",
)


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return FakeTools(tmp_path)


@pytest.fixture
def folders(tmp_path: Path) -> SharedFolder:
    """A shared folder in which fg-a-1 was submitted as job 100 of team 7."""
    folders = SharedFolder(tmp_path / "root")
    folders.create_tree()
    keep(folders, RECORD)
    return folders


@pytest.fixture
def backend(tools: FakeTools, folders: SharedFolder) -> SlurmBackend:
    return SlurmBackend(SlurmSettings(root=folders.root, bin=tools.folder))


def keep(folders: SharedFolder, record: Record) -> None:
    (folders.attempt(record.name) / "in").mkdir(parents=True)
    folders.save(record)


def account_line(**cells: str) -> bytes:
    found = {
        "id": "100", "shown": "100", "user": "fg-team7", "state": "COMPLETED", "code": "0:0",
        "submitted": str(SUBMITTED), "started": str(SUBMITTED + 1), "ended": str(SUBMITTED + 9),
        "node": "gpu1", "name": "fg-a-1",
    } | cells  # fmt: skip
    return "|".join(found.values()).encode() + b"\n"


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Resources", WaitCause.RESOURCES),
        ("None", WaitCause.TURN),
        ("Priority", WaitCause.TURN),
        ("AssocGrpGRES", WaitCause.QUOTA),
        ("AssocGrpCpuLimit", WaitCause.QUOTA),
        ("AssocGrpGRESMinutes", WaitCause.QUOTA),
        ("QOSMaxGRESPerUser", WaitCause.QUOTA),
        ("QOSMaxJobsPerUserLimit", WaitCause.QUOTA),
        ("AssocMaxJobsLimit", WaitCause.QUOTA),
        ("PartitionTimeLimit", WaitCause.QUOTA),
        ("JobHeldAdmin", WaitCause.HELD),
        ("JobHeldUser", WaitCause.HELD),
        ("Dependency", WaitCause.DEPENDENCY),
        ("BeginTime", WaitCause.LATER),
        ("Reservation", WaitCause.LATER),
        ("ReqNodeNotAvail, UnavailableNodes:gpu[1-4]", WaitCause.NODES_AWAY),
        ("Nodes_required_for_job_are_DOWN", WaitCause.NODES_AWAY),
        ("PartitionDown", WaitCause.NODES_AWAY),
        ("SomethingOfNextYear", WaitCause.OTHER),
    ],
)
def test_why_a_job_waits_is_told_by_cause(reason: str, cause: WaitCause) -> None:
    assert wait_for(reason).cause is cause


def test_a_reason_we_do_not_know_is_quoted() -> None:
    assert wait_for("SomethingOfNextYear").words == "Slurm says: SomethingOfNextYear."


def test_foreign_names_may_hold_anything() -> None:
    evil = queue_line(JobID="7", UserName="eve", Name="x~\nfg-a-1 | ü")
    assert [row.job_id for row in parse_queue(evil + queue_line())] == ["7", "100"]


def test_waiting_is_told_with_its_cause(tools: FakeTools, backend: SlurmBackend) -> None:
    line = queue_line(State="PENDING", Reason="Resources", StartTime="N/A", NodeList="")
    tools.says("squeue", line)
    seen = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert (seen.phase, seen.started_at, seen.engine_id) == (Phase.PENDING, None, "100")
    assert seen.wait is not None
    assert seen.wait.cause is WaitCause.RESOURCES


@pytest.mark.parametrize(
    "answer",
    [
        queue_line() + queue_line()[:200],
        queue_line()[:-1],
        queue_line().replace(b"~", b" "),
        b"slurm_load_jobs error: Invalid\n",
        queue_line(State="RUNING"),
        queue_line(RestartCnt="?"),
    ],
    ids=["half a line", "no end", "no mark", "an error", "unknown state", "no number"],
)
def test_an_answer_that_is_not_whole_is_no_answer(
    tools: FakeTools, backend: SlurmBackend, answer: bytes
) -> None:
    tools.says("squeue", answer)
    with pytest.raises(BackendUnavailable):
        backend.observe([Handle("fg-a-1")])


def test_a_failing_squeue_is_no_answer(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("squeue", queue_line(), status=1, error="Unable to contact slurm controller")
    with pytest.raises(BackendUnavailable, match="contact"):
        backend.observe([Handle("fg-a-1")])


def test_an_id_used_again_by_somebody_else_is_not_ours(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    tools.says("squeue", queue_line(UserName="eve"))
    assert backend.observe([Handle("fg-a-1")]).seen == {}


def test_an_id_used_again_years_later_is_not_ours(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("squeue", queue_line(Name="other", SubmitTime=str(SUBMITTED + 90_000_000)))
    assert backend.observe([Handle("fg-a-1")]).seen == {}


def test_a_job_its_user_has_renamed_stays_ours(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("squeue", queue_line(Name="free-ride"))
    assert backend.observe([Handle("fg-a-1")]).seen["fg-a-1"].phase is Phase.RUNNING


def test_strays_are_live_jobs_of_our_users_only(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says(
        "squeue",
        queue_line()
        + queue_line(JobID="101", Name="fg-b-1")
        + queue_line(JobID="102", Name="fg-c-1", UserName="eve")
        + queue_line(JobID="103", Name="fg-d-1", State="COMPLETED")
        + queue_line(JobID="104", Name="mine", UserName="fg-team7"),
    )
    assert backend.observe([Handle("fg-a-1")]).strays == (
        "fg-b-1",
        "slurm-job-104",
    )


def test_a_second_job_of_one_name_is_cancelled(tools: FakeTools, backend: SlurmBackend) -> None:
    second = queue_line(JobID="101", State="PENDING", Reason="Dependency", StartTime="N/A")
    tools.says("squeue", second + queue_line())
    survey = backend.observe([Handle("fg-a-1")])
    assert survey.seen["fg-a-1"].engine_id == "100"
    assert survey.strays == ("fg-a-1",)
    assert tools.calls("scancel") == ["scancel --quiet --user=fg-team7 101"]


def test_what_squeue_forgot_is_asked_of_sacct_within_bounds(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    old = account_line(user="eve", submitted="1500000000", ended="1500000009", state="FAILED")
    tools.says("sacct", old + account_line(code="0:0"))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert (end.phase, end.reason, end.exit_code) == (Phase.ENDED, EndReason.COMPLETED, 0)
    assert (end.started_at, end.ended_at) == (at(SUBMITTED + 1), at(SUBMITTED + 9))
    (call,) = tools.calls("sacct")
    assert "--jobs 100" in call
    assert "--starttime 2026-09-21T" in call


def test_an_end_once_told_is_told_the_same_for_ever(
    tools: FakeTools, backend: SlurmBackend, folders: SharedFolder
) -> None:
    tools.says("squeue", queue_line(State="TIMEOUT", EndTime=str(SUBMITTED + 700)))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    tools.says("squeue", b"")
    later = SlurmBackend(SlurmSettings(root=folders.root, bin=tools.folder))
    assert later.observe([Handle("fg-a-1")]).seen["fg-a-1"] == end
    assert end.reason is EndReason.TIME_LIMIT


def test_without_accounts_the_job_is_simply_gone(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("sacct", b"", status=1, error="Slurm accounting storage is disabled")
    assert backend.observe([Handle("fg-a-1")]).seen == {}


def test_accounts_that_do_not_answer_lose_nothing(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("sacct", b"", status=1, error="slurmdbd: Connection refused")
    with pytest.raises(BackendUnavailable):
        backend.observe([Handle("fg-a-1")])


@pytest.mark.parametrize(
    ("state", "reason"),
    [("NODE_FAIL", EndReason.NODE_LOST), ("PREEMPTED", EndReason.PREEMPTED)],
)
def test_a_start_that_was_put_back_has_ended(
    tools: FakeTools, backend: SlurmBackend, state: str, reason: EndReason
) -> None:
    tools.says("squeue", queue_line(State="PENDING", RestartCnt="1", Reason="BeginTime"))
    again = account_line(submitted=str(SUBMITTED + 60), started="Unknown", ended="Unknown",
                         state="PENDING")  # fmt: skip
    tools.says("sacct", again + account_line(state=state, ended=str(SUBMITTED + 50)))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert (end.phase, end.reason) == (Phase.ENDED, reason)
    assert (end.ended_at, end.node) == (at(SUBMITTED + 50), "gpu1")


def test_who_cancelled_it_is_told(tools: FakeTools, backend: SlurmBackend) -> None:
    tools.says("squeue", queue_line(State="CANCELLED", EndTime=str(SUBMITTED + 9)))
    tools.says("sacct", account_line(state="CANCELLED by 0", code="0:15"))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert (end.reason, end.detail) == (EndReason.STOPPED, "Cancelled in Slurm by root.")


@pytest.mark.parametrize(
    ("cells", "reason", "code"),
    [
        ({"State": "COMPLETED"}, EndReason.COMPLETED, 0),
        ({"State": "FAILED", "exit_code": str(3 << 8)}, EndReason.USER_ERROR, 3),
        ({"State": "FAILED", "exit_code": "11"}, EndReason.USER_ERROR, 139),
        ({"State": "OUT_OF_MEMORY", "exit_code": "125"}, EndReason.OUT_OF_MEMORY, 253),
        ({"State": "NODE_FAIL"}, EndReason.NODE_LOST, 0),
        ({"State": "BOOT_FAIL"}, EndReason.NODE_LOST, 0),
        ({"State": "PREEMPTED"}, EndReason.PREEMPTED, 0),
        ({"State": "DEADLINE"}, EndReason.TIME_LIMIT, 0),
        (
            {"State": "FAILED", "Reason": "JobLaunchFailure", "exit_code": "256"},
            EndReason.START_FAILED,
            1,
        ),
    ],
)
def test_how_it_ended_is_told_by_slurms_state(
    tools: FakeTools, backend: SlurmBackend, cells: dict[str, str], reason: EndReason, code: int
) -> None:
    tools.says("squeue", queue_line(**({"EndTime": str(SUBMITTED + 100)} | cells)))
    end = backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]
    assert (end.reason, end.exit_code) == (reason, code)


def test_a_job_that_is_completing_still_holds_its_gpus(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    tools.says("squeue", queue_line(State="COMPLETING"))
    assert backend.observe([Handle("fg-a-1")]).seen["fg-a-1"].phase is Phase.RUNNING


def test_a_job_whose_folder_was_lost_is_known_by_name_and_user(
    tools: FakeTools, backend: SlurmBackend
) -> None:
    tools.says(
        "squeue",
        queue_line(JobID="7", Name="fg-z-1") + queue_line(JobID="8", Name="fg-y-1", UserName="eve"),
    )
    assert set(backend.observe([Handle("fg-z-1"), Handle("fg-y-1")]).seen) == {"fg-z-1"}


def test_many_attempts_are_one_call_and_many_looks_one_a_second(
    tools: FakeTools, backend: SlurmBackend, folders: SharedFolder
) -> None:
    names = [f"fg-many-{number}" for number in range(40)]
    lines = b""
    for number, name in enumerate(names, 1000):
        keep(folders, replace(RECORD, name=name, origin=name, job_id=str(number)))
        lines += queue_line(JobID=str(number), Name=name)
    tools.says("squeue", lines)
    began = time.monotonic()
    surveys = [backend.observe([Handle(name) for name in names]) for _ in range(20)]
    took = time.monotonic() - began
    assert all(len(survey.seen) == len(names) for survey in surveys)
    assert len(tools.calls()) <= 1 + took


def test_many_ends_that_slurm_heard_of_late_are_two_more_calls(
    tools: FakeTools, backend: SlurmBackend, folders: SharedFolder
) -> None:
    names = [f"fg-many-{number}" for number in range(40)]
    lines = b""
    for number, name in enumerate(names, 1000):
        keep(folders, replace(RECORD, name=name, origin=name, job_id=str(number), uid=os.getuid()))
        start = folders.attempt(name) / "starts" / "0"
        start.mkdir(parents=True)
        (start / "started").write_text(f"{SUBMITTED}\n")
        (start / "ended").write_text(f"{SUBMITTED + 10} 0\n")
        late = str(SUBMITTED + 60)
        lines += queue_line(JobID=str(number), Name=name, State="COMPLETED", EndTime=late)
    tools.says("squeue", lines)
    assert len(backend.observe([Handle(name) for name in names]).seen) == len(names)
    assert len(tools.calls("scontrol")) == 2


@pytest.mark.parametrize(("ago", "updates"), [(60, 1), (0, 0)], ids=["a while ago", "just now"])
def test_what_was_put_back_is_let_start_but_not_in_the_second_in_which_it_was(
    tools: FakeTools, backend: SlurmBackend, folders: SharedFolder, ago: int, updates: int
) -> None:
    folders.save(replace(RECORD, restart=1))
    back = str(int(time.time()) - ago)
    line = queue_line(State="PENDING", Reason="BeginTime", RestartCnt="1", SubmitTime=back)
    tools.says("squeue", line)
    backend.observe([Handle(RECORD.name)])
    assert len(tools.calls("scontrol")) == updates


class TestOutcomeUnknown:
    """The portal died between handing a job over and hearing its id."""

    @pytest.fixture(autouse=True)
    def tried(self, folders: SharedFolder) -> None:
        keep(folders, replace(RECORD, name="fg-t-1", origin="fg-t-1", job_id=""))

    def test_what_slurm_has_is_seen_all_the_same(
        self, tools: FakeTools, backend: SlurmBackend
    ) -> None:
        tools.says("squeue", queue_line(JobID="55", Name="fg-t-1"))
        assert backend.observe([Handle("fg-t-1")]).seen["fg-t-1"].engine_id == "55"

    def test_a_stop_finds_the_job(
        self, tools: FakeTools, backend: SlurmBackend, folders: SharedFolder
    ) -> None:
        tools.says("squeue", queue_line(JobID="55", Name="fg-t-1"))
        backend.stop("fg-t-1", grace_seconds=5)
        assert all(call.endswith(" 55") for call in tools.calls("scancel"))
        assert (folders.attempt("fg-t-1") / "in" / "stop").read_text() == "5"
