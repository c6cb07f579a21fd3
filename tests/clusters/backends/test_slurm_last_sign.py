"""Until when a run is charged of whose end Slurm heard late, and whose word counts for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clusters.backends.base import BackendUnavailable, EndReason, Handle, Observation
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.settings import SlurmSettings
from tests.slurm.fake import FakeTools, queue_line

BEGAN = 1_790_000_000
NOTICED = BEGAN + 300
HERE = f"NodeName=gpu1 State=MIXED SlurmdStartTime={BEGAN - 20}\n"


class Start:
    """A run that began half a second after BEGAN; all times are seconds after that."""

    def __init__(self, folder: Path) -> None:
        self._tools = FakeTools(folder)
        self._folders = SharedFolder(folder / "root")
        self._record = Record(
            name="fg-a-1", user="fg-team7", uid=os.getuid(), time_limit=600, nodes=1,
            tried_at=BEGAN, origin="fg-a-1", job_id="100",
        )  # fmt: skip
        self._folders.create_tree()
        self._place = self._folders.attempt("fg-a-1") / "starts" / "0"
        self._place.mkdir(parents=True)
        (self._place / "started").write_text(f"{BEGAN + 0.5}\n")
        (self._folders.attempt("fg-a-1") / "in").mkdir()
        self._folders.save(self._record)
        self.daemons_say(HERE)

    def lived_until(self, at: float) -> None:
        """The wrapper showed a last time that it lives."""
        (self._place / "alive").touch()
        os.utime(self._place / "alive", (BEGAN + at, BEGAN + at))

    def wrote_its_end(self, at: float, code: int = 0) -> None:
        """The wrapper wrote when the command ended."""
        (self._place / "ended").write_text(f"{BEGAN + at} {code}\n")

    def was_told_to_stop(self, at: float) -> None:
        """The portal asked for it."""
        self._folders.request_stop(self._record, grace_seconds=5)
        os.utime(self._folders.attempt("fg-a-1") / "in" / "stop", (BEGAN + at, BEGAN + at))

    def daemons_say(self, words: str, *, status: int = 0) -> None:
        """What scontrol tells of them."""
        self._tools.says("scontrol", words.encode(), status=status)

    @property
    def cancelled(self) -> list[str]:
        """The jobs that scancel was called for."""
        return [call.rpartition(" ")[2] for call in self._tools.calls("scancel")]

    def ends(self, squeue: bytes, sacct: str = "") -> Observation:
        """How it ended, now that Slurm says this."""
        self._tools.says("squeue", squeue)
        self._tools.says("sacct", sacct.encode())
        backend = SlurmBackend(SlurmSettings(root=self._folders.root, bin=self._tools.folder))
        return backend.observe([Handle("fg-a-1")]).seen["fg-a-1"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


def after_beginning(seconds: float) -> datetime:
    return datetime.fromtimestamp(BEGAN + seconds, UTC)


@pytest.mark.parametrize(
    ("squeue", "sacct"),
    [
        (queue_line(State="NODE_FAIL", EndTime=str(NOTICED)), ""),
        (
            queue_line(State="PENDING", RestartCnt="1", Reason="BeginTime"),
            f"100|100|fg-team7|NODE_FAIL|0:0|{BEGAN}|{BEGAN}|{NOTICED}|gpu1|fg-a-1\n",
        ),
    ],
    ids=["not put back", "put back"],
)
def test_a_run_whose_node_is_lost_is_charged_until_its_last_sign_of_life(
    start: Start, squeue: bytes, sacct: str
) -> None:
    start.lived_until(7.25)
    end = start.ends(squeue, sacct)
    assert end.reason is EndReason.NODE_LOST
    assert end.ended_at == after_beginning(7.25)


PUT_BACK = queue_line(State="PENDING", RestartCnt="1", Reason="BeginTime")


def lost_at(seconds: float, state: str = "NODE_FAIL") -> str:
    """What accounting says of a start that Slurm gave up then."""
    times = f"{BEGAN}|{BEGAN}|{BEGAN + seconds}"
    return f"100|100|fg-team7|{state}|0:0|{times}|gpu1|fg-a-1\n"


@pytest.mark.parametrize(("code", "reason"), [(0, "completed"), (3, "user_error")])
def test_what_had_ended_while_slurm_was_away_has_that_end_though_it_was_put_back(
    start: Start, code: int, reason: str
) -> None:
    start.wrote_its_end(80.5, code)
    start.daemons_say(f"BOOT_TIME = {BEGAN + 90}\n")
    end = start.ends(PUT_BACK, lost_at(100))
    assert (end.reason, end.exit_code, end.node) == (reason, code, "gpu1")
    assert end.ended_at == after_beginning(80.5)
    assert start.cancelled == ["100"]


@pytest.mark.parametrize(
    ("wrote", "code", "began", "state"),
    [
        pytest.param(80.5, 0, -20, "NODE_FAIL", id="nobody was away"),
        pytest.param(98.0, 0, 90, "NODE_FAIL", id="it may have been told to end"),
        pytest.param(98.0, 0, 90, "PREEMPTED", id="it was told to make room"),
        pytest.param(80.5, 143, 90, "NODE_FAIL", id="a signal ended it"),
    ],
)
def test_what_slurm_may_have_ended_goes_on_in_the_queue(
    start: Start, wrote: float, code: int, began: int, state: str
) -> None:
    start.wrote_its_end(wrote, code)
    start.daemons_say(f"BOOT_TIME = {BEGAN + began}\n")
    end = start.ends(PUT_BACK, lost_at(100, state))
    assert end.reason in (EndReason.NODE_LOST, EndReason.PREEMPTED)
    assert start.cancelled == []


def test_what_heeded_a_stop_is_charged_until_then_however_late_slurm_learns_of_it(
    start: Start,
) -> None:
    start.was_told_to_stop(9)
    start.wrote_its_end(9.5, 143)
    end = start.ends(queue_line(State="FAILED", exit_code="36608", EndTime=str(NOTICED)))
    assert end.reason is EndReason.STOPPED
    assert end.ended_at == after_beginning(9.5)


@pytest.mark.parametrize(
    ("wrote", "charged_until"),
    [
        pytest.param(96.0, 96.0, id="a little earlier"),
        pytest.param(91.5, 100.0, id="too early to be believed"),
        pytest.param(104.0, 104.0, id="a little later"),
        pytest.param(106.0, 100.0, id="too late to be believed"),
    ],
)
def test_the_end_the_wrapper_wrote_counts_close_to_slurms_own(
    start: Start, wrote: float, charged_until: float
) -> None:
    start.wrote_its_end(wrote)
    end = start.ends(queue_line(State="COMPLETED", EndTime=str(BEGAN + 100)))
    assert end.ended_at == after_beginning(charged_until)


@pytest.mark.parametrize(
    ("daemons", "charged_until"),
    [
        pytest.param(f"BOOT_TIME               = {BEGAN + 90}\n", 80.5, id="its controller was"),
        pytest.param(f"NodeName=gpu1 SlurmdStartTime={BEGAN + 90}\n", 80.5, id="its node was"),
        pytest.param(f"BOOT_TIME               = {BEGAN + 70}\n", 100, id="before that end"),
        pytest.param("", 100, id="not that Slurm knows of"),
    ],
)
def test_a_much_earlier_end_counts_where_a_daemon_was_away_to_hear_of_it(
    start: Start, daemons: str, charged_until: float
) -> None:
    start.wrote_its_end(80.5)
    start.daemons_say(daemons)
    end = start.ends(queue_line(State="COMPLETED", EndTime=str(BEGAN + 100)))
    assert end.ended_at == after_beginning(charged_until)


def test_a_daemon_that_has_long_been_back_excuses_no_late_end(start: Start) -> None:
    start.wrote_its_end(80.5)
    start.daemons_say(f"NodeName=gpu1 SlurmdStartTime={BEGAN + 90}\n")
    end = start.ends(queue_line(State="COMPLETED", EndTime=str(NOTICED)))
    assert end.ended_at == after_beginning(300)


@pytest.mark.parametrize(
    ("daemons", "charged_until"),
    [
        pytest.param(f"State=IDLE SlurmdStartTime={BEGAN + 8}", 7.25, id="it was away"),
        pytest.param(f"State=DOWN* SlurmdStartTime={BEGAN - 20}", 7.25, id="it is away"),
        pytest.param(f"State=MIXED SlurmdStartTime={BEGAN - 20}", 9, id="it never was"),
    ],
)
def test_what_is_stopped_on_a_node_that_had_died_is_charged_until_its_last_sign_of_life(
    start: Start, daemons: str, charged_until: float
) -> None:
    start.lived_until(7.25)
    start.was_told_to_stop(8)
    start.daemons_say(f"NodeName=gpu1 {daemons}\n")
    end = start.ends(queue_line(State="CANCELLED", EndTime=str(BEGAN + 9)))
    assert end.reason is EndReason.STOPPED
    assert end.ended_at == after_beginning(charged_until)


def test_a_stop_between_the_two_ends_did_not_stop_it(start: Start) -> None:
    start.wrote_its_end(80.5)
    start.was_told_to_stop(85)
    start.daemons_say(f"BOOT_TIME = {BEGAN + 90}\n")
    end = start.ends(queue_line(State="COMPLETED", EndTime=str(BEGAN + 100)))
    assert end.reason is EndReason.COMPLETED


def test_a_time_limit_between_the_two_ends_did_not_end_it(start: Start) -> None:
    start.wrote_its_end(595, 3)
    start.daemons_say(f"BOOT_TIME = {BEGAN + 600}\n")
    end = start.ends(queue_line(State="FAILED", exit_code="768", EndTime=str(BEGAN + 610)))
    assert end.reason is EndReason.USER_ERROR
    assert end.exit_code == 3


def test_it_is_not_judged_while_slurm_cannot_say_who_was_away(start: Start) -> None:
    start.wrote_its_end(80.5)
    start.daemons_say("", status=1)
    row = queue_line(State="COMPLETED", EndTime=str(BEGAN + 100))
    with pytest.raises(BackendUnavailable):
        start.ends(row)
    start.daemons_say(f"BOOT_TIME = {BEGAN + 90}\n")
    assert start.ends(row).ended_at == after_beginning(80.5)


def test_a_node_that_was_switched_off_when_idle_was_not_away(start: Start) -> None:
    start.wrote_its_end(80.5)
    start.daemons_say(f"NodeName=gpu1 State=IDLE+POWERED_DOWN SlurmdStartTime={BEGAN - 20}\n")
    end = start.ends(queue_line(State="COMPLETED", EndTime=str(BEGAN + 100)))
    assert end.ended_at == after_beginning(100)
