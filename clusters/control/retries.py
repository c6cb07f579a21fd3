"""Whether what ended is run again, and when: retries by class of failure."""

from __future__ import annotations

from datetime import datetime, timedelta

from clusters.actions.launching import add_attempt
from clusters.actions.set_status import move_workload
from clusters.choices import ENDINGS, Reason, Retry, WorkloadStatus
from clusters.models import Attempt, Workload
from portal.lib import clock

# Waits before the 1st, 2nd, ... retry for one class of failure. The first comes at once: most
# machines that are lost are lost alone.
BACKOFF = tuple(timedelta(seconds=seconds) for seconds in (0, 15, 30, 60, 120, 300, 600))
# An attempt that ran this long made headway: its failure does not count as one of a row.
HEADWAY = timedelta(minutes=10)
MOST_STARTS = 3
# A run that asks to be run again for ever is a loop, not a job.
MOST_ATTEMPTS = 1000
# What is left of the time limit must be worth a start.
LEAST_LEFT = timedelta(seconds=5)


def queue_again(attempt: Attempt, job: Workload, reason: Reason) -> bool:
    """Queue the next attempt of `job` if its class of failure is retried; False if it is not.

    `attempt` has just ended for `reason`; the caller holds the workload's row.
    """
    is_out = (
        _class(reason) == Retry.NEVER or attempt.number - job.first_attempt >= MOST_ATTEMPTS - 1
    )
    if is_out or job.stop_requested_at is not None:
        return False
    ended = Attempt.objects.filter(workload=job, number__gte=job.first_attempt).order_by("number")
    earlier = list(ended.only("number", "reason", "started_at", "ended_at"))
    same = [one for one in earlier if one.reason and _class(Reason(one.reason)) == _class(reason)]
    if not _is_allowed(job, reason, len(same)) or _time_left(job, earlier) < LEAST_LEFT:
        return False
    not_before = _not_before(same)
    if not move_workload(
        job,
        WorkloadStatus.QUEUED,
        Reason.RETRYING,
        detail=_words(reason, attempt.number + 1),
        attempt_number=attempt.number,
    ):
        return False
    add_attempt(job, number=attempt.number + 1, not_before=not_before)
    return True


def _class(reason: Reason) -> Retry:
    return ENDINGS[reason].retry


def _is_allowed(job: Workload, reason: Reason, failures: int) -> bool:
    """`failures` of this class so far, the one at hand among them."""
    match _class(reason):
        case Retry.NEVER:
            return False
        case Retry.USER:
            return failures <= job.max_retries
        case Retry.START:
            return failures < MOST_STARTS
        case Retry.ALWAYS:
            return True


def _not_before(same: list[Attempt]) -> datetime | None:
    """When the next may start: later with each failure of the class in a row."""
    row = 0
    for attempt in reversed(same):
        if row and _ran(attempt) > HEADWAY:
            break
        row += 1
    wait = BACKOFF[min(row - 1, len(BACKOFF) - 1)] if row else BACKOFF[0]
    if same and _ran(same[-1]) > HEADWAY:
        wait = BACKOFF[0]
    return clock.now() + wait if wait else None


def _time_left(job: Workload, attempts: list[Attempt]) -> timedelta:
    limit = timedelta(seconds=job.time_limit_seconds)
    return limit - sum((_ran(attempt) for attempt in attempts), timedelta(0))


def _ran(attempt: Attempt) -> timedelta:
    if attempt.started_at is None or attempt.ended_at is None:
        return timedelta(0)
    return attempt.ended_at - attempt.started_at


def _words(reason: Reason, number: int) -> str:
    said = reason.label[0].lower() + reason.label[1:]
    return f"Attempt {number} follows: {said}."
