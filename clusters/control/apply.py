"""Turns what an engine says of an attempt into state, money and words, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.actions.holds import release_hold
from billing.actions.metering import Resource, close_interval, open_interval
from clusters.actions.jobs import RESOURCE_KIND
from clusters.actions.locks import lock_workload
from clusters.actions.set_status import move_attempt, move_workload, set_wait
from clusters.backends.base import REQUEUE_EXIT_CODE, EndReason, Observation, Phase, Wait
from clusters.choices import (
    ENDINGS,
    REASON_OF_END,
    REASON_OF_WAIT,
    AttemptState,
    Reason,
    Retry,
    WorkloadStatus,
)
from clusters.control.breaker import consider_breaker
from clusters.control.retries import queue_again
from clusters.models import Attempt, GpuAllotment, Workload
from portal.lib import clock
from portal.lib.tasks import hint_on_commit


def apply_observation(attempt: Attempt, seen: Observation) -> None:
    """Move `attempt` to what was seen. Safe to repeat; what is known already does nothing.

    Where `attempt` carries a lease, the result counts only while the row carries it too.
    """
    if seen.phase == Phase.PENDING:
        _wait(attempt, seen)
        return
    with transaction.atomic():
        job = _lock(attempt)
        if job is None:
            return
        seen = _plausible(attempt, seen)
        has_begun = seen.started_at is not None and seen.reason != EndReason.START_FAILED
        if not (has_begun and _begin(attempt, job, seen)):
            _note(attempt, seen)
        if seen.phase == Phase.ENDED:
            _end(attempt, job, seen, reason_of(seen))


def end_unplaceable(attempt: Attempt, reason: Reason, detail: str) -> None:
    """End an attempt no engine knows or will ever take; trying again would change nothing."""
    with transaction.atomic():
        job = _lock(attempt)
        if job is not None:
            _end(attempt, job, None, reason, detail, may_retry=False)


def end_lost(attempt: Attempt) -> None:
    """End an attempt its engine forgot; it is billed to the last time it was seen."""
    with transaction.atomic():
        job = _lock(attempt)
        if job is not None and attempt.missing_since is not None:
            # Handed over after the last look and never seen: then it ran for no time at all.
            seen = max(filter(None, [attempt.last_seen_at, attempt.started_at]), default=None)
            _end(attempt, job, None, Reason.NODE_LOST, ended_at=seen or attempt.missing_since)


def reason_of(seen: Observation) -> Reason:
    """Why an ended attempt ended; one without a reason is lost."""
    if seen.reason == EndReason.USER_ERROR and seen.exit_code == REQUEUE_EXIT_CODE:
        return Reason.ASKED_REQUEUE
    return REASON_OF_END[seen.reason or EndReason.NODE_LOST]


def wait_words(wait: Wait) -> str:
    """Why it waits and what the user can do, as kept in the workload's detail."""
    return f"{wait.words} {wait.advice}".strip()[:500]


def _lock(attempt: Attempt) -> Workload | None:
    """The workload, locked after its team's account (the order everywhere).

    None once the attempt has ended, or when its lease went to somebody else.
    """
    token = attempt.lease_token
    job = lock_workload(attempt.workload_id)
    attempt.refresh_from_db()
    if attempt.state == AttemptState.ENDED:
        return None
    is_stale = attempt.state == AttemptState.PLACED and attempt.lease_token != token
    return None if is_stale else job


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


def _facts(attempt: Attempt, seen: Observation) -> dict[str, Any]:
    """What the engine calls it and where it runs; it is missing no more."""
    return {
        "engine_id": (seen.engine_id or attempt.engine_id)[:60],
        "node": (seen.node or attempt.node)[:200],
        "missing_since": None,
    }


def _note(attempt: Attempt, seen: Observation) -> None:
    facts = _facts(attempt, seen)
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
        **_facts(attempt, seen),
    ):
        return
    if seen.wait is not None:
        set_wait(attempt.workload_id, REASON_OF_WAIT[seen.wait.cause], wait_words(seen.wait))


def _begin(attempt: Attempt, job: Workload, seen: Observation) -> bool:
    """Let it run and be metered; False where it did already."""
    assert seen.started_at is not None  # noqa: S101  # the caller looked
    if attempt.state == AttemptState.RUNNING or not move_attempt(
        attempt,
        AttemptState.RUNNING,
        started_at=seen.started_at,
        submitted_at=attempt.submitted_at or clock.now(),
        lease_token=None,
        lease_expires_at=None,
        **_facts(attempt, seen),
    ):
        return False
    move_workload(
        job,
        WorkloadStatus.RUNNING,
        Reason.RUNNING,
        attempt_number=attempt.number,
        started_at=job.started_at or seen.started_at,
    )
    open_interval(
        job.team.billing_account,
        sku_code=job.pool.sku_code,
        price=job.price,
        resource=Resource(
            kind=RESOURCE_KIND,
            id=job.pk,
            attempt=attempt.number,
            public_id=job.public_id,
            label=job.name,
        ),
        quantity=job.gpus,
        started_at=seen.started_at,
    )
    return True


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
    close_interval(RESOURCE_KIND, job.pk, attempt.number, ended_at=when)
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
        ENDINGS[reason].status,
        reason,
        detail=detail,
        attempt_number=attempt.number,
        ended_at=when,
    )


def _as_asked(attempt: Attempt, job: Workload, reason: Reason) -> Reason:
    """A stop that was asked for is the reason, in the words of who asked."""
    was_told = job.stop_requested_at is not None
    if reason == Reason.STOPPED and was_told:
        if attempt.number == 1 and attempt.started_at is None:
            return Reason.CANCELLED_IN_QUEUE
        return Reason(job.stop_reason or Reason.STOPPED)
    return reason
