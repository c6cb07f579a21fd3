"""From what Slurm, accounting and the wrapper say of an attempt to one observation of it."""

from __future__ import annotations

import pwd
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clusters.backends.base import EndReason, Observation, Phase
from clusters.backends.slurm.folders import Facts, Record, StopRequest
from clusters.backends.slurm.listing import Row
from clusters.backends.slurm.states import ENDS, START_FAILURES, wait_for

SLACK_SECONDS = 5.0
"""The wrapper's times count within this distance of Slurm's own, which are whole seconds: the
wrapper runs as the team's user, who could otherwise choose what to pay for."""
EARLY_SECONDS = 5.0
"""A job that ended this soon without a sign of the wrapper was never really started."""
STARTED_BEFORE = 73
SIGNALLED = 128
OWN_STATUSES = {
    70: "the files of the attempt could not be read on the node",
    STARTED_BEFORE: "this start of the attempt had been made before",
    74: "the shared folder could not be written on the node",
    127: "a program the wrapper needs is missing on the node",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known besides the row."""

    facts: Facts
    stop: StopRequest | None
    account: Row | None = None
    was_away: bool = False
    """A daemon of Slurm was away after the last sign of the run, and heard of its end later."""


def alive(record: Record, row: Row, facts: Facts) -> Observation:
    """A job that waits or runs."""
    pending = row.phase is Phase.PENDING
    return Observation(
        external_name=record.name,
        phase=row.phase,
        started_at=None if pending else moment(_started(row, facts)),
        node="" if pending else row.node,
        engine_id=engine_id(row),
        wait=wait_for(row.reason) if pending else None,
        is_paused=row.state == "SUSPENDED",
    )


def launching(record: Record, row: Row) -> Observation:
    """A job whose node has been told to start it."""
    return Observation(record.name, Phase.PENDING, engine_id=engine_id(row))


def ended(record: Record, row: Row, evidence: Evidence) -> Observation:
    """A job that is over, by squeue or by accounting."""
    facts = evidence.facts
    ran = bool(row.node)
    started = _started(row, facts) if ran else None
    over = _ended(row, facts)
    if _heeded(evidence.stop, facts):
        # Slurm, away at the time, may have learnt of it much later.
        over = facts.ended if _is_not_later(facts.ended, over) else over
    if evidence.was_away and facts.ended is not None:
        # Before the reason is judged: a stop or the time limit may lie between the two ends.
        over = _last_sign(facts, over)
    reason = _reason(record, row, evidence, started, over)
    if reason is EndReason.NODE_LOST or evidence.was_away:
        over = _last_sign(facts, over)
    return Observation(
        external_name=record.name,
        phase=Phase.ENDED,
        started_at=moment(started),
        ended_at=moment(max(over, started) if over and started else over),
        exit_code=_code(row, facts) if ran else None,
        reason=reason,
        detail=_detail(row, evidence, reason),
        node=row.node,
        engine_id=engine_id(row),
    )


def put_back(record: Record, row: Row, evidence: Evidence) -> Observation:
    """This start is over because Slurm put the job back into its queue; `row` is the job now."""
    if evidence.was_away and (end := _end_unheard_of(record, evidence)):
        return end
    account = evidence.account
    reason = ENDS.get(account.state, EndReason.NODE_LOST) if account else EndReason.NODE_LOST
    if reason not in (EndReason.PREEMPTED, EndReason.NODE_LOST):
        reason = EndReason.NODE_LOST
    facts = evidence.facts
    started = facts.started
    if account and account.started and not _is_not_later(started, account.started):
        started = account.started
    over = account.ended if account else None
    if reason is EndReason.NODE_LOST:
        over = _last_sign(facts, over)
    words = {
        EndReason.PREEMPTED: "Slurm gave its place to work of higher priority.",
        EndReason.NODE_LOST: "Slurm lost its node and put it back into the queue.",
    }[reason]
    if account and account.state == "REQUEUED":
        words = "It was put back into Slurm's queue."
    return Observation(
        external_name=record.name,
        phase=Phase.ENDED,
        started_at=moment(started),
        ended_at=moment(over),
        reason=reason,
        detail=words,
        node=account.node if account else "",
        engine_id=engine_id(row),
    )


def _end_unheard_of(record: Record, evidence: Evidence) -> Observation | None:
    """How it had ended by itself before Slurm, away at that time, thought its node had lost it.

    None where the wrapper says no such thing: then it may have been ended by what Slurm did.
    """
    code = evidence.facts.code
    end = forgotten(record, evidence) if code is not None and code <= SIGNALLED else None
    if end is None:
        return None
    node = evidence.account.node if evidence.account else ""
    words = "Slurm was away when it ended; this is what the node wrote."
    return replace(end, node=node, detail=words)


def forgotten(record: Record, evidence: Evidence) -> Observation | None:
    """Slurm knows the job no more; the wrapper may have said how it ended. None: it did not."""
    facts = evidence.facts
    if facts.ended is None or facts.code is None:
        return None
    reason = EndReason.COMPLETED if facts.code == 0 else EndReason.USER_ERROR
    if _was_stopped(evidence.stop, facts.ended):
        reason = EndReason.STOPPED
    elif facts.started is not None and facts.ended - facts.started >= record.time_limit:
        reason = EndReason.TIME_LIMIT
    return Observation(
        external_name=record.name,
        phase=Phase.ENDED,
        started_at=moment(facts.started),
        ended_at=moment(facts.ended),
        exit_code=facts.code,
        reason=reason,
        detail="Slurm keeps no accounts; this is what the node wrote.",
        engine_id=record.job_id,
    )


def _reason(
    record: Record, row: Row, evidence: Evidence, started: float | None, over: float | None
) -> EndReason:
    reason = ENDS[row.state]
    if row.state not in ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT"):
        return reason
    if _was_stopped(evidence.stop, over):
        return EndReason.STOPPED
    if row.state == "FAILED" and _was_started_again(row, evidence.facts):
        return _end_of_first_start(evidence.facts)
    if row.state == "FAILED" and _never_began(row, evidence.facts):
        return EndReason.START_FAILED
    ran_for = over - started if over and started else 0.0
    if row.state in ("COMPLETED", "FAILED") and ran_for >= record.time_limit:
        return EndReason.TIME_LIMIT
    return reason


def _was_stopped(stop: StopRequest | None, over: float | None) -> bool:
    return stop is not None and (over is None or stop.at <= over + 1.0)


def _was_started_again(row: Row, facts: Facts) -> bool:
    """A controller that died forgot that it had started the job, and a node started it anew.

    The wrapper refused that; how the first start ended is what the first start wrote, if anything.
    """
    code = row.status >> 8 & 0xFF
    return code == STARTED_BEFORE and facts.started is not None and facts.code != STARTED_BEFORE


def _end_of_first_start(facts: Facts) -> EndReason:
    if facts.code is None or facts.code > SIGNALLED:
        return EndReason.NODE_LOST
    return EndReason.USER_ERROR if facts.code else EndReason.COMPLETED


def _heeded(stop: StopRequest | None, facts: Facts) -> bool:
    """Whether it says that it ended when it was told to."""
    return stop is not None and facts.ended is not None and facts.ended >= stop.at


def _never_began(row: Row, facts: Facts) -> bool:
    if row.reason in START_FAILURES or not row.node:
        return True
    took = row.ended - row.started if row.ended and row.started else 0.0
    return facts.started is None and took <= EARLY_SECONDS


def _started(row: Row, facts: Facts) -> float | None:
    return facts.started if _is_near(facts.started, row.started) else row.started


def _ended(row: Row, facts: Facts) -> float | None:
    return facts.ended if _is_near(facts.ended, row.ended) else row.ended


def _is_near(said: float | None, known: float | None) -> bool:
    return said is not None and known is not None and abs(said - known) <= SLACK_SECONDS


def _last_sign(facts: Facts, over: float | None) -> float | None:
    """Until when a run whose node is lost is charged; Slurm notices minutes later."""
    sign = facts.ended or facts.alive
    return sign if _is_not_later(sign, over) else over


def _is_not_later(said: float | None, known: float | None) -> bool:
    return said is not None and known is not None and said - known <= SLACK_SECONDS


def _code(row: Row, facts: Facts) -> int | None:
    """The command's exit code as a shell says it: 128 and the signal where one ended it."""
    if _was_started_again(row, facts):
        return facts.code
    signal, code = row.status & 0x7F, row.status >> 8 & 0xFF
    if facts.code is not None and (signal or code in (facts.code, 0)):
        return facts.code
    return 128 + signal if signal else code


def _detail(row: Row, evidence: Evidence, reason: EndReason) -> str:
    if reason is EndReason.START_FAILED:
        code = row.status >> 8 & 0xFF
        words = OWN_STATUSES.get(code, row.reason or "no reason given")
        return f"Slurm could not start it: {words}."
    if row.state == "CANCELLED" and evidence.stop is None:
        by = evidence.account.cancelled_by if evidence.account else row.cancelled_by
        return f"Cancelled in Slurm by {_user(by)}." if by else "Cancelled in Slurm."
    if reason is EndReason.NODE_LOST and row.state == "FAILED":
        return "Slurm's controller forgot that it ran."
    if row.state in ("NODE_FAIL", "BOOT_FAIL"):
        return f"Slurm lost the node {row.node}."
    if row.state in ("DEADLINE", "TIMEOUT"):
        return "Slurm ended it at the job's own limit."
    return ""


def _user(uid: str) -> str:
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError):
        return f"user {uid}"


def moment(seconds: float | None) -> datetime | None:
    """A time, from seconds since the epoch."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def engine_id(row: Row) -> str:
    """What Slurm's tools call the job, or the task of an array."""
    return row.job_id if row.task < 0 else f"{row.job_id}_{row.task}"
