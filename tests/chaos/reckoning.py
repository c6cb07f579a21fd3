"""After a storm: what the jobs printed against what the portal says of them and charged."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg.rows import namedtuple_row

from tests.chaos.pace import Pace
from tests.chaos.plan import Kind, Plan, Wish
from tests.chaos.storm import FINAL, Report
from tests.stacks.portal import ROOT, Stack

# What is charged and what really ran may differ by this much, and by what this machine took just
# then to start programs.
TOLERANCE_SECONDS = 1.0
# slurmctld saves its state every 5 s and a job waits a while before it runs; for a while after
# it came back, ids it gives out again are still in use on its nodes.
FORGETS_SECONDS = 20.0
ENDS = {
    Kind.RUNS: {"succeeded"},
    Kind.FAILS: {"failed"},
    Kind.FAILS_ONCE: {"succeeded"},
    Kind.REQUEUES: {"succeeded"},
    Kind.CANCELLED_SOON: {"cancelled"},
    Kind.CANCELLED_LATE: {"cancelled"},
}
ATTEMPTS = (
    "SELECT w.public_id AS job, w.name, w.status, a.number, a.external_name, a.reason,"
    " a.state, a.node, a.started_at, a.ended_at, a.lease_token, a.placed_at, p.backend,"
    " i.started_at AS metered_from, i.ended_at AS metered_until, i.id AS interval"
    " FROM clusters_workload w JOIN clusters_attempt a ON a.workload_id = w.id"
    " JOIN clusters_pool p ON p.id = w.pool_id"
    " LEFT JOIN billing_usageinterval i ON i.resource_kind = 'workload'"
    " AND i.resource_id = w.id AND i.resource_attempt = a.number"
    " ORDER BY w.id, a.number"
)
LEFTOVERS = {
    "open holds": "SELECT count(*) FROM billing_hold WHERE released_at IS NULL",
    "GPUs still given": "SELECT count(*) FROM clusters_gpuallotment WHERE released_at IS NULL",
    "open intervals": "SELECT count(*) FROM billing_usageinterval WHERE ended_at IS NULL",
    "strays": "SELECT count(*) FROM clusters_engine WHERE strays <> '[]'",
    "jobs with other than one end": (
        "SELECT count(*) FROM (SELECT 1 FROM clusters_workload w LEFT JOIN clusters_workloadevent e"
        f" ON e.workload_id = w.id AND e.status IN ({FINAL})"
        " GROUP BY w.id HAVING count(e.id) <> 1) odd"
    ),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What one attempt printed: epoch seconds of its starts, its last line and its end."""

    starts: tuple[float, ...]
    foreign: tuple[str, ...]
    last: float | None
    ended: float | None


@dataclass(frozen=True, slots=True)
class Lost:
    """What may be lost: attempts whose supervisor was killed, all on nodes that were, and what
    was handed to Slurm around the times when it forgot its last seconds (epoch seconds)."""

    attempts: set[str]
    nodes: set[str]
    forgot_at: list[float]

    def has(self, row: Any, before: list[Any]) -> bool:
        """Whether the attempt in `row` may be; `before`: those of its run that came before it.

        Slurm puts a job back into its queue under the id that the job was given at first.
        """
        if row.external_name in self.attempts or self.nodes & set(row.node.split(",")):
            return True
        return any(
            abs(one.placed_at.timestamp() - at) < FORGETS_SECONDS
            for one in (*before, row)
            if one.placed_at and one.backend == "slurm"
            for at in self.forgot_at
        )


@dataclass
class Reckoning:
    """Problems in sentences, and figures."""

    pace: Pace
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    worst_start: float = 0
    worst_end: float = 0
    attempts: int = 0


def reckon(
    stack: Stack,
    plan: Plan,
    report: Report,
    *,
    environment: Mapping[str, str],
    lost: Lost,
    pace: Pace,
) -> Reckoning:
    """Compare."""
    found = Reckoning(pace)
    with psycopg.connect(environment["DATABASE_URL"], row_factory=namedtuple_row) as connection:
        rows: list[Any] = connection.execute(ATTEMPTS.encode()).fetchall()
        for what, question in LEFTOVERS.items():
            (count,) = connection.execute(question.encode()).fetchone()  # type: ignore[misc]
            if count:
                found.problems.append(f"{count} {what}")
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    found.attempts = len(rows)
    with _api(stack) as api:
        shown = _shown(api)
        for wish in plan.wishes:
            mine = by_name.pop(wish.key, [])
            found.problems += _of_job(wish, mine, report.jobs.get(wish.key), shown)
            said = [_said(api, row) for row in mine]
            for place, (row, words) in enumerate(zip(mine, said, strict=True)):
                found.reasons[row.reason] += 1
                may_be_lost = lost.has(row, mine[:place])
                found.problems += _of_attempt(row, words, found, is_lost=may_be_lost)
            found.problems += _of_overlaps(mine, said)
    found.problems += [f"{name}: a job nobody asked for" for name in by_name]
    found.problems += _books(environment)
    return found


def _of_job(
    wish: Wish, rows: list[Any], answered: str | None, shown: Mapping[str, str]
) -> Iterator[str]:
    jobs = {row.job for row in rows}
    if jobs != {answered}:
        yield f"{wish.key}: answered {answered}, there are {sorted(jobs)}"
        return
    status = rows[-1].status
    if status not in ENDS[wish.kind]:
        yield f"{wish.key} ({wish.kind}): {status}, {[row.reason for row in rows]}"
    if shown.get(rows[-1].job) != status:
        yield f"{wish.key}: the API says {shown.get(rows[-1].job)}, the database {status}"
    again = [row for row in rows if row.reason in ("asked_requeue", "user_error")]
    is_twice = wish.kind in (Kind.REQUEUES, Kind.FAILS_ONCE) and rows[0].reason != "node_lost"
    expected = [1] if is_twice else [rows[-1].number] if wish.kind == Kind.FAILS else []
    lost = sum(row.reason == "node_lost" for row in rows[:-1])
    if [row.number for row in again] != expected or len(rows) != 1 + lost + int(is_twice):
        yield f"{wish.key} ({wish.kind}): attempts ended {[row.reason for row in rows]}"


def _of_attempt(row: Any, said: Said, found: Reckoning, *, is_lost: bool) -> Iterator[str]:
    name = row.external_name
    if row.state != "ended" or row.lease_token is not None:
        yield f"{name}: {row.state}, lease {row.lease_token}"
    if said.foreign:
        yield f"{name}: its log has {said.foreign[0]!r}"
    if row.reason == "node_lost" and not is_lost:
        yield f"{name}: lost although nobody killed it"
    if row.reason in ("start_failed", "image_missing", "time_limit"):
        yield f"{name}: {row.reason}"
    began = row.started_at is not None
    if began != (row.interval is not None):
        yield f"{name}: started {row.started_at}, metered from {row.metered_from}"
    # A supervisor may be killed between the first line and its own note of the start, and a stop
    # may come between that note and the first line.
    is_stopped = row.reason == "stopped" and began and not said.starts
    at_once = is_stopped and (row.ended_at - row.started_at).total_seconds() < TOLERANCE_SECONDS
    if len(said.starts) != int(began) and not (is_lost and len(said.starts) <= 1) and not at_once:
        yield f"{name}: executed {len(said.starts)} times, started at {row.started_at}"
    if began and said.starts and row.interval is not None:
        yield from _of_times(row, said, found)


def _of_times(row: Any, said: Said, found: Reckoning) -> Iterator[str]:
    if row.metered_until is None or said.last is None:
        return
    until = said.ended if said.ended is not None else said.last
    start, may_start = _differ(row.metered_from.timestamp(), said.starts[0], found.pace)
    end, may_end = _differ(row.metered_until.timestamp(), until, found.pace)
    found.worst_start = max(found.worst_start, abs(start))
    found.worst_end = max(found.worst_end, abs(end))
    if abs(start) > may_start or abs(end) > may_end:
        yield f"{row.external_name} ({row.reason}): metering is off by {start:.2f} and {end:.2f} s"


def _differ(charged: float, real: float, pace: Pace) -> tuple[float, float]:
    """By how many seconds the two differ, and may."""
    allowed = TOLERANCE_SECONDS + pace.slowest(min(charged, real), max(charged, real))
    return charged - real, allowed


def _of_overlaps(rows: list[Any], said: list[Said]) -> Iterator[str]:
    before = 0.0
    for row, words in zip(rows, said, strict=True):
        if words.starts and words.starts[0] < before:
            yield f"{row.external_name} began while the attempt before it ran"
        before = words.last or before


def _books(environment: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.books"],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return [] if done.returncode == 0 else [f"the books: {done.stderr[-1500:]}"]


def _api(stack: Stack) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}/api/v1",
        headers={"Authorization": f"Bearer {stack.demo['owner_api_key']}"},
        timeout=30,
    )


def _shown(api: httpx.Client) -> dict[str, str]:
    """Status of every job, as the API lists them."""
    statuses: dict[str, str] = {}
    before: dict[str, str] = {}
    while True:
        page = _get(api, "/jobs", before)
        statuses |= {job["id"]: job["status"] for job in page["jobs"]}
        if page["next"] is None:
            return statuses
        before = {"before": page["next"]}


def _said(api: httpx.Client, row: Any) -> Said:
    text: str = _get(api, f"/jobs/{row.job}/logs", {"attempt": str(row.number)})["text"]
    starts, foreign = [], []
    last = ended = None
    for line in text.splitlines():
        words = line.split()
        if words[1:3] != [row.job, str(row.number)] or len(words) != 4:
            foreign.append(line)
            continue
        last = float(words[3])
        if words[0] == "start":
            starts.append(last)
        if words[0] == "end":
            ended = last
    return Said(tuple(starts), tuple(foreign), last, ended)


def _get(api: httpx.Client, path: str, params: Mapping[str, str]) -> dict[str, Any]:
    answer = api.get(path, params=dict(params))
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
