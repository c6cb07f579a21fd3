"""The line under a run's status: why it stands there, what comes next, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from clusters.backends.base import REQUEUE_EXIT_CODE
from clusters.choices import AttemptState, Reason, WorkloadKind, WorkloadStatus
from clusters.control.placement import takes_work
from clusters.models import Attempt, Workload
from clusters.queries.attempts import Unseen, is_queued_by_engine
from clusters.queries.pools import longest_wait
from clusters.queries.runs import RunDetail
from portal.lib import clock
from portal.templatetags.portal_format import duration

HANDED_OVER = "On its way into the cluster's queue."


@dataclass(frozen=True, slots=True)
class StatusLine:
    """`reason` as a sentence, then `more`. `starts_at` is when a retry may begin at the soonest.

    `unknown` and `unknown_more` say since when nothing is known of it, and that it goes on.
    """

    reason: str
    more: str = ""
    starts_at: datetime | None = None
    unknown: str = ""
    unknown_more: str = ""


def status_line(detail: RunDetail) -> StatusLine:
    """The line for a run as it stands."""
    job = detail.job
    if job.status == WorkloadStatus.QUEUED:
        line = _queued(detail)
    elif job.status == WorkloadStatus.RUNNING:
        line = StatusLine(_running(job), _again_words(detail))
    elif detail.is_final:
        line = _ended(detail)
    else:
        line = StatusLine(f"{detail.reason}.", _beyond(job.detail, detail.reason))
    if detail.unseen is None:
        return line
    return _unknown(line, detail, detail.unseen)


def _running(job: Workload) -> str:
    if job.reason == Reason.SERVER_STARTING:
        return "Its server is starting. What never answers is not charged."
    word = "stops" if job.kind == WorkloadKind.NOTEBOOK else "ends"
    return f"Charged by the second until it {word}."


def ending_words(attempt: Attempt) -> str:
    """Why an attempt ended, as a sentence without its full stop; empty while it has not."""
    return Reason(attempt.reason).label if attempt.reason else ""


def ending_more(attempt: Attempt) -> str:
    """What is known beyond the reason: the engine's words, else the exit code."""
    said = _beyond(attempt.detail, ending_words(attempt))
    code = attempt.exit_code
    if said or not code:
        return said
    if code == REQUEUE_EXIT_CODE and attempt.reason == Reason.ASKED_REQUEUE:
        return f"Exit code {code} asks for that."
    return f"Exit code {code}."


def _queued(detail: RunDetail) -> StatusLine:
    job, latest, before = detail.job, detail.attempt, detail.before
    if latest is None or before is None:
        reason = HANDED_OVER if _is_being_handed_over(detail) else f"{detail.reason}."
        return StatusLine(reason, _waiting(detail))
    words = ending_words(before)
    again = f"Queued again (attempt {latest.number}): {words[:1].lower()}{words[1:]}."
    if latest.not_before is not None and latest.not_before > clock.now():
        return StatusLine(again, ending_more(before), starts_at=latest.not_before)
    if job.reason != Reason.RETRYING:
        return StatusLine(again, f"{detail.reason}. {_waiting(detail)}".strip())
    waits = f"{Reason.WAITING_FOR_GPUS.label}."
    if _is_being_handed_over(detail):
        waits = HANDED_OVER
    return StatusLine(again, f"{waits} {_place(detail)}".strip())


def _is_being_handed_over(detail: RunDetail) -> bool:
    """Whether it is on its way into a queue the engine keeps."""
    attempt = detail.attempt
    waits_here = attempt is not None and attempt.state in {
        AttemptState.INTENDED,
        AttemptState.PLACED,
    }
    return waits_here and is_queued_by_engine(detail.job.pool) and takes_work(detail.job.pool)


def _waiting(detail: RunDetail) -> str:
    """What its queue says beyond the reason, and its place where the portal keeps the queue."""
    return f"{_beyond(detail.job.detail, detail.reason)} {_place(detail)}".strip()


def _place(detail: RunDetail) -> str:
    pool, words = detail.job.pool, ""
    if detail.position is not None:
        place = f"Place {detail.position}" if detail.position > 1 else "Next"
        words = f"{place} in the queue."
    attempt = detail.attempt
    if attempt is not None and attempt.state == AttemptState.INTENDED and not takes_work(pool):
        return f"{words} The pool starts nothing at present.".strip()
    if detail.position is None:
        return ""
    wait = longest_wait(pool, gpus=detail.job.gpus, before=detail.job)
    return f"{words} Starts within {duration(wait)} at the latest." if wait else words


def _again_words(detail: RunDetail) -> str:
    latest, before = detail.attempt, detail.before
    if latest is None or before is None:
        return ""
    words = ending_words(before)
    return f"Run again: {words[:1].lower()}{words[1:]}."


def _ended(detail: RunDetail) -> StatusLine:
    said = _beyond(detail.job.detail, detail.reason)
    latest = detail.attempt
    if not said and latest is not None and detail.job.status == WorkloadStatus.FAILED:
        said = ending_more(latest)
    tried = f"It was run {detail.tries} times." if detail.tries > 1 else ""
    return StatusLine(f"{detail.reason}.", " ".join(filter(None, [said, tried, detail.advice])))


def _unknown(line: StatusLine, detail: RunDetail, unseen: Unseen) -> StatusLine:
    """The line of a run that its engine says nothing of. Unknown is neither failed nor ended."""
    since = f"Not seen since {unseen.since:%H:%M:%S} UTC"
    attempt = detail.attempt
    state = attempt.state if attempt is not None else ""
    if unseen.is_missing:
        words = f"{since}: the cluster answers, but does not list it."
        more = "It is looked for a while longer; only then it counts as lost and is run again."
    elif state == AttemptState.PLACED:
        words = f"The cluster does not answer since {unseen.since:%H:%M:%S} UTC."
        more = "It is handed over as soon as the cluster answers."
    elif state == AttemptState.SUBMITTED:
        words = f"{since}: the cluster does not answer."
        more = "It keeps its place in the cluster's queue."
    elif detail.job.status == WorkloadStatus.STOPPING:
        words = f"{since}: the cluster does not answer."
        more = "It is asked to stop as soon as the cluster answers."
    else:
        words = f"{since}: the cluster does not answer."
        more = "Your run goes on; nothing is stopped or failed because of that."
    return StatusLine(line.reason, line.more, line.starts_at, words, more)


def _beyond(said: str, reason: str) -> str:
    """`said` as a sentence, unless the reason says as much."""
    said = said.strip()
    if not said or said.removesuffix(".").lower() == reason.lower():
        return ""
    said = said[0].upper() + said[1:]
    return said if said[-1] in ".!?" else f"{said}."
