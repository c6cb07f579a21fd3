"""Turns what an engine says of an attempt into state, money and words, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from billing.actions.holds import release_hold
from billing.actions.metering import close_interval
from clusters.actions.apps import close_routes, last_answer
from clusters.actions.launching import RESOURCE_KIND
from clusters.actions.locks import lock_workloads
from clusters.actions.set_status import (
    move_attempt,
    move_workload,
    set_wait,
)
from clusters.backends.base import REQUEUE_EXIT_CODE, EndReason, Observation, Phase, Wait
from clusters.choices import (
    ENDINGS,
    REASON_OF_END,
    REASON_OF_WAIT,
    AttemptState,
    Reason,
    Retry,
    WorkloadKind,
    status_after,
)
from clusters.control.begin import Case, begin, facts_of
from clusters.control.breaker import consider_breaker
from clusters.control.faults import fault_of
from clusters.control.retries import queue_again
from clusters.models import Attempt, GpuAllotment, Workload
from portal.lib import clock
from portal.lib.tasks import hint_on_commit

logger = logging.getLogger(__name__)
# Settled in one transaction: their teams' accounts are held no longer than a moment.
TOGETHER = 20


def apply_observation(attempt: Attempt, seen: Observation) -> None:
    """Move `attempt` to what was seen. Safe to repeat; what is known already does nothing.

    Where `attempt` carries a lease, the result counts only while the row carries it too.
    """
    if seen.phase == Phase.PENDING:
        _wait(attempt, seen)
    else:
        _settle([(attempt, seen)])


def apply_observations(news: Iterable[tuple[Attempt, Observation]]) -> None:
    """`apply_observation` for many, some at a time in one transaction.

    One that cannot be settled does not keep the others from it: it is logged, and loop_status
    shows it.
    """
    together: list[tuple[Attempt, Observation]] = []
    for attempt, seen in news:
        if seen.phase == Phase.PENDING:
            _try(attempt, seen)
        else:
            together.append((attempt, seen))
    for first in range(0, len(together), TOGETHER):
        _try_together(together[first : first + TOGETHER])


def _try_together(pairs: Sequence[tuple[Attempt, Observation]]) -> None:
    if len(pairs) > 1:
        try:
            _settle(pairs)
        except Exception:
            logger.exception("%d attempts could not be settled together", len(pairs))
        else:
            return
    for attempt, seen in pairs:
        _try(attempt, seen)


def _try(attempt: Attempt, seen: Observation) -> None:
    try:
        apply_observation(attempt, seen)
    except Exception:
        logger.exception("%s could not be settled", attempt.external_name)


@transaction.atomic
def _settle(pairs: Sequence[tuple[Attempt, Observation]]) -> None:
    """Bring attempts that have begun or ended to what was seen, the starts of all at once."""
    locked = _lock([attempt for attempt, _ in pairs])
    cases = [
        Case(*locked[attempt.pk], _plausible(locked[attempt.pk][0], seen))
        for attempt, seen in pairs
        if attempt.pk in locked
    ]
    begun = [case for case in cases if case.has_begun]
    for case in cases:
        if case not in begun:
            _note(case.attempt, case.seen)
    if begun:
        begin(begun)
    for case in cases:
        if case.seen.phase == Phase.ENDED:
            _end(case.attempt, case.job, case.seen, reason_of(case.seen))


@transaction.atomic
def end_unplaceable(attempt: Attempt, reason: Reason, detail: str) -> None:
    """End an attempt no engine knows or will ever take; trying again would change nothing."""
    for row, job in _lock([attempt]).values():
        _end(row, job, None, reason, detail, may_retry=False)


@transaction.atomic
def end_lost(attempt: Attempt) -> None:
    """End an attempt its engine forgot; it is billed to the last time it was seen."""
    for row, job in _lock([attempt]).values():
        if row.missing_since is not None:
            # Handed over after the last look and never seen: then it ran for no time at all.
            seen = max(filter(None, [row.last_seen_at, row.started_at]), default=None)
            _end(row, job, None, Reason.NODE_LOST, ended_at=seen or row.missing_since)


def reason_of(seen: Observation) -> Reason:
    """Why an ended attempt ended; one without a reason is lost."""
    if seen.reason == EndReason.USER_ERROR and seen.exit_code == REQUEUE_EXIT_CODE:
        return Reason.ASKED_REQUEUE
    return REASON_OF_END[seen.reason or EndReason.NODE_LOST]


def wait_words(wait: Wait) -> str:
    """Why it waits and what the user can do, as kept in the workload's detail."""
    return f"{wait.words} {wait.advice}".strip()[:500]


def _lock(attempts: Iterable[Attempt]) -> dict[int, tuple[Attempt, Workload]]:
    """The attempts by key as they stand, with their workloads, all locked.

    Accounts first, then workloads, then attempts (the order everywhere). Without those that have
    ended, and those whose lease went to somebody else.
    """
    tokens = {attempt.pk: attempt.lease_token for attempt in attempts}
    jobs = lock_workloads({attempt.workload_id for attempt in attempts})
    rows = Attempt.objects.select_for_update(no_key=True).filter(pk__in=tokens).order_by("pk")
    found: dict[int, tuple[Attempt, Workload]] = {}
    for row in rows:
        is_stale = row.state == AttemptState.PLACED and row.lease_token != tokens[row.pk]
        if row.state != AttemptState.ENDED and not is_stale:
            found[row.pk] = (row, jobs[row.workload_id])
    return found


def _plausible(attempt: Attempt, seen: Observation) -> Observation:
    """No time before it was placed or after now: nobody pays for an engine's wrong clock."""
    now = clock.now()
    started = seen.started_at
    if started is not None:
        started = min(max(started, attempt.placed_at or started), now)
    ended = seen.ended_at
    if ended is not None:
        ended = min(max(ended, started or ended), now)
    return replace(seen, started_at=started, ended_at=ended)


def _note(attempt: Attempt, seen: Observation) -> None:
    facts = facts_of(attempt, seen)
    news = {name: value for name, value in facts.items() if value != getattr(attempt, name)}
    if news:
        Attempt.objects.filter(pk=attempt.pk).update(**news)
        for name, value in news.items():
            setattr(attempt, name, value)


def _wait(attempt: Attempt, seen: Observation) -> None:
    """No money moves while it waits, so nothing is locked: each step is one guarded update."""
    if attempt.state == AttemptState.SUBMITTED:
        _note(attempt, seen)
    elif not move_attempt(
        attempt,
        AttemptState.SUBMITTED,
        is_leased=True,
        submitted_at=clock.now(),
        lease_token=None,
        lease_expires_at=None,
        **facts_of(attempt, seen),
    ):
        return
    if seen.wait is not None:
        set_wait(attempt.workload_id, REASON_OF_WAIT[seen.wait.cause], wait_words(seen.wait))


def _end(
    attempt: Attempt,
    job: Workload,
    seen: Observation | None,
    reason: Reason,
    detail: str = "",
    *,
    ended_at: datetime | None = None,
    may_retry: bool = True,
) -> None:
    when = ended_at or (seen.ended_at if seen else None) or attempt.missing_since or clock.now()
    if attempt.started_at is not None:
        when = max(when, attempt.started_at)
    detail = detail or (seen.detail if seen else "")
    reason = _as_asked(attempt, job, reason)
    if reason == Reason.SERVER_SILENT:
        detail = last_answer(attempt) or detail
    if not move_attempt(
        attempt,
        AttemptState.ENDED,
        ended_at=when,
        exit_code=seen.exit_code if seen else None,
        reason=reason,
        detail=detail[:500],
        lease_token=None,
        lease_expires_at=None,
    ):
        return
    GpuAllotment.objects.filter(attempt=attempt, released_at__isnull=True).update(
        released_at=clock.now()
    )
    close_routes(attempt)
    close_interval(
        RESOURCE_KIND,
        job.pk,
        attempt.number,
        ended_at=when,
        is_proven=seen is not None and seen.ended_at is not None,
        fault=fault_of(attempt, reason),
    )
    hint_on_commit("clusters.tasks.drive_pool", job.pool_id)
    if ENDINGS[reason].counts_against_node:
        consider_breaker(job.pool)
    if may_retry and queue_again(attempt, job, reason):
        return
    release_hold(resource_kind=RESOURCE_KIND, resource_id=job.pk)
    if job.stop_requested_at is not None and ENDINGS[reason].retry in {Retry.ALWAYS, Retry.START}:
        # Its machine went away while it was being stopped: it is stopped all the same.
        reason = Reason(job.stop_reason or Reason.STOPPED)
    move_workload(
        job,
        status_after(WorkloadKind(job.kind), reason),
        reason,
        detail=detail,
        attempt_number=attempt.number,
        ended_at=when,
    )


def _as_asked(attempt: Attempt, job: Workload, reason: Reason) -> Reason:
    """A stop that was asked for is the reason, in the words of who asked."""
    was_told = job.stop_requested_at is not None
    if reason == Reason.STOPPED and was_told:
        if attempt.number == job.first_attempt and attempt.started_at is None:
            return Reason.CANCELLED_IN_QUEUE
        return Reason(job.stop_reason or Reason.STOPPED)
    return reason
