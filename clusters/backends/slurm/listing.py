"""Reads squeue and sacct: one call for all jobs, and no line that is not whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clusters.backends.base import BackendUnavailable, Phase
from clusters.backends.slurm.cli import Answer, Tools, last_line
from clusters.backends.slurm.hostlist import expand
from clusters.backends.slurm.states import PHASES

# Fields of squeue -O with their widths in bytes. Records have one length, whatever foreign jobs
# are called: a name may hold any separator, even line breaks.
COLUMNS: tuple[tuple[str, int], ...] = (
    ("JobID", 12), ("ArrayJobID", 12), ("ArrayTaskID", 12), ("UserName", 64), ("State", 20),
    ("exit_code", 12), ("RestartCnt", 8), ("SubmitTime", 24), ("StartTime", 24),
    ("EndTime", 24), ("NodeList", 200), ("Reason", 200), ("Name", 100),
)  # fmt: skip
END = "~"
FORMAT = ",".join(f"{name}:{width}" for name, width in COLUMNS) + END
RECORD_BYTES = sum(width for _, width in COLUMNS) + len(END) + 1
MAX_ASKED = 1_000
"""Jobs asked of sacct in one call: an argument may be 128 KiB long."""
MARGIN_SECONDS = 120
"""How far back of a submission sacct is asked, for clocks that differ."""
ACCOUNTING_OFF = "accounting storage is disabled"
SACCT_FIELDS = "JobIDRaw,JobID,User,State,ExitCode,Submit,Start,End,NodeList,JobName"


@dataclass(frozen=True, slots=True)
class Row:
    """A job as Slurm has it. Times are seconds since the epoch; `task` -1 outside of arrays.

    `status` is the wait status of the batch script. `cancelled_by`: a user id, from accounting.
    """

    job_id: str
    task: int
    user: str
    name: str
    state: str
    status: int
    restarts: int
    submitted: float | None
    started: float | None
    ended: float | None
    node: str
    reason: str
    cancelled_by: str = ""

    @property
    def phase(self) -> Phase:
        """Where the job stands. Raises BackendUnavailable for a state we do not know."""
        try:
            return PHASES[self.state]
        except KeyError:
            raise BackendUnavailable(f"Slurm says {self.state!r} of job {self.job_id}.") from None


def read_queue(tools: Tools) -> list[Row]:
    """Every job squeue knows, ended ones too. Raises BackendUnavailable for half a list."""
    answer = tools.ask("squeue", "--noheader", "--array", "--states=all", "--Format", FORMAT)
    return parse_queue(answer)


def parse_queue(answer: bytes) -> list[Row]:
    """Rows of squeue's answer. Raises BackendUnavailable where one is not whole."""
    if len(answer) % RECORD_BYTES:
        raise BackendUnavailable("squeue's answer is not whole: it ends within a line.")
    rows = []
    for at in range(0, len(answer), RECORD_BYTES):
        record = answer[at : at + RECORD_BYTES]
        if record[-2:] != f"{END}\n".encode():
            raise BackendUnavailable("squeue's answer is not whole: a line has no end mark.")
        rows.append(_row(record))
    return rows


def _row(record: bytes) -> Row:
    cells = {}
    at = 0
    for name, width in COLUMNS:
        cells[name] = record[at : at + width].decode(errors="replace").rstrip()
        at += width
    try:
        task = cells["ArrayTaskID"]
        is_task = task.isdigit()
        return Row(
            job_id=cells["ArrayJobID"] if is_task else str(int(cells["JobID"])),
            task=int(task) if is_task else -1,
            user=cells["UserName"],
            name=cells["Name"],
            state=cells["State"].split()[0],
            status=int(cells["exit_code"]),
            restarts=int(cells["RestartCnt"]),
            submitted=_time(cells["SubmitTime"]),
            started=_time(cells["StartTime"]),
            ended=_time(cells["EndTime"]),
            node=",".join(expand(cells["NodeList"])),
            reason=cells["Reason"],
        )
    except (ValueError, IndexError) as error:
        raise BackendUnavailable(f"squeue's answer cannot be read: {error}") from error


def _time(word: str) -> float | None:
    """Seconds since the epoch; None for "N/A", "Unknown" and "None"."""
    return float(word) if word.isdigit() and int(word) > 0 else None


@dataclass(frozen=True, slots=True)
class Accounts:
    """What accounting says. `rows` are oldest first, one for each start of a job.

    `is_on` False: this cluster keeps no accounts, so nothing can be learnt by waiting.
    """

    rows: Sequence[Row]
    is_on: bool = True


def read_accounts(
    tools: Tools, *, since: float, ids: Iterable[str] = (), names: Iterable[str] = ()
) -> Accounts:
    """What accounting has of jobs submitted after `since`: by their ids, or else by names.

    Bounded: MAX_ASKED of them, and never further back, for ids are used again and old rows are
    kept. Raises BackendUnavailable when accounting does not answer.
    """
    by_id = sorted(set(ids))[:MAX_ASKED]
    asked = by_id or sorted(set(names))[:MAX_ASKED]
    if not asked:
        return Accounts(())
    start = datetime.fromtimestamp(max(0.0, since - MARGIN_SECONDS), UTC).astimezone()
    answer = tools.run(
        "sacct", "--allocations", "--noheader", "--parsable2", "--duplicates", "--allusers",
        "--jobs" if by_id else "--name", ",".join(asked),
        "--starttime", start.strftime("%Y-%m-%dT%H:%M:%S"), "--format", SACCT_FIELDS,
    )  # fmt: skip
    if ACCOUNTING_OFF in answer.error:
        return Accounts((), is_on=False)
    return Accounts(_account_rows(answer))


def _account_rows(answer: Answer) -> list[Row]:
    if answer.status != 0 or (answer.out and not answer.out.endswith(b"\n")):
        raise BackendUnavailable(f"sacct failed: {last_line(answer.error)}")
    lines = answer.out.decode(errors="replace").splitlines()
    rows = [_account_row(line.split("|", SACCT_FIELDS.count(","))) for line in lines]
    rows.sort(key=lambda row: (row.submitted or 0.0, row.started or float("inf")))
    starts: dict[tuple[str, int, str], int] = {}
    numbered = []
    for row in rows:
        key = (row.job_id, row.task, row.user)
        starts[key] = starts.get(key, -1) + 1
        numbered.append(replace(row, restarts=starts[key]))
    return numbered


def _account_row(cells: list[str]) -> Row:
    if len(cells) != SACCT_FIELDS.count(",") + 1:
        raise BackendUnavailable("sacct's answer is not whole.")
    raw, shown, user, state, code, submitted, started, ended, node, name = cells
    main, _, task = shown.partition("_")
    word, _, by = state.partition(" by ")
    status, _, number = code.partition(":")
    try:
        return Row(
            job_id=main if task else raw,
            task=int(task) if task.isdigit() else -1,
            user=user,
            name=name,
            state=word.strip(),
            status=(int(status) << 8) | int(number or 0),
            restarts=0,
            submitted=_time(submitted),
            started=_time(started),
            ended=_time(ended),
            node="" if node == "None assigned" else ",".join(expand(node)),
            reason="",
            cancelled_by=by.strip(),
        )
    except ValueError as error:
        raise BackendUnavailable(f"sacct's answer cannot be read: {error}") from error
