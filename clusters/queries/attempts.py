"""Attempts as they are shown: where they ran, when, why they ended and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import DurationField, ExpressionWrapper, F, Sum, Value
from django.db.models.functions import Coalesce

from billing.queries.usage import Part
from clusters.backends.registry import backend
from clusters.choices import (
    ENDINGS,
    IN_ENGINE,
    AttemptState,
    Reason,
    WorkloadKind,
    WorkloadStatus,
    status_after,
)
from clusters.models import Attempt, Engine, Pool, Workload
from portal.lib import clock
from portal.lib.errors import InvalidInput, NotFound

# An engine is looked at every second or so: one look that failed is no news to anybody.
UNKNOWN_AFTER = timedelta(seconds=10)
MAX_DIGITS = 9
_STATUS_OF: dict[AttemptState, WorkloadStatus] = {
    AttemptState.INTENDED: WorkloadStatus.QUEUED,
    AttemptState.PLACED: WorkloadStatus.STARTING,
    AttemptState.SUBMITTED: WorkloadStatus.QUEUED,
    AttemptState.RUNNING: WorkloadStatus.RUNNING,
}


@dataclass(frozen=True, slots=True)
class Unseen:
    """Since when nothing is known of a run; `is_missing` where its engine answers without it."""

    since: datetime
    is_missing: bool


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One attempt with its part of the bill at `at`. Money in micro-units.

    `rate_micros` an hour is 0 where nothing ticks; `is_followed` where another attempt is.
    """

    attempt: Attempt
    at: datetime
    cost_micros: int
    billed_us: int
    rate_micros: int
    is_followed: bool

    @property
    def number(self) -> int:
        """1 for the first."""
        return self.attempt.number

    def status(self, kind: WorkloadKind) -> WorkloadStatus:
        """The word people know for where it stands, being one of a workload of this kind."""
        state = AttemptState(self.attempt.state)
        if state != AttemptState.ENDED:
            return _STATUS_OF[state]
        reason = self.attempt.reason
        if reason not in ENDINGS:
            return WorkloadStatus.FAILED
        return status_after(kind, Reason(reason))

    @property
    def ran_for(self) -> timedelta | None:
        """How long it ran, so far where it still does; None where it never began."""
        return ran_for(self.attempt, self.at)

    @property
    def billed_seconds(self) -> float:
        """Seconds charged, to the microsecond."""
        return self.billed_us / 1_000_000


def attempts_of(job: Workload) -> list[Attempt]:
    """The attempts of `job`, oldest first."""
    return list(Attempt.objects.filter(workload=job).order_by("number"))


def latest_by_job(jobs: Iterable[Workload]) -> dict[int, Attempt]:
    """The latest attempt of each job, by the job's key; one query."""
    found = Attempt.objects.filter(workload__in=[job.pk for job in jobs])
    latest = found.order_by("workload_id", "-number").distinct("workload_id")
    return {attempt.workload_id: attempt for attempt in latest}


def ran_by_job(jobs: Iterable[Workload], *, at: datetime) -> dict[int, timedelta]:
    """How long each job has run over all its attempts, by its key; one query.

    Those that never began are left out.
    """
    began = Attempt.objects.filter(
        workload__in=[job.pk for job in jobs], started_at__isnull=False
    ).order_by()
    span = ExpressionWrapper(
        Coalesce(F("ended_at"), Value(at)) - F("started_at"), output_field=DurationField()
    )
    return dict(began.values("workload").annotate(time=Sum(span)).values_list("workload", "time"))


def attempt_facts(
    attempts: Sequence[Attempt], parts: Iterable[Part], *, at: datetime
) -> tuple[AttemptFacts, ...]:
    """What each of a run's attempts, oldest first, came to by its intervals."""
    by_number: dict[int, list[Part]] = {attempt.number: [] for attempt in attempts}
    for part in parts:
        by_number.setdefault(part.attempt, []).append(part)
    return tuple(
        AttemptFacts(
            attempt=attempt,
            at=at,
            cost_micros=sum(part.net_micros for part in by_number[attempt.number]),
            billed_us=sum(part.billed_us for part in by_number[attempt.number]),
            rate_micros=sum(part.burn_micros_per_hour for part in by_number[attempt.number]),
            is_followed=attempt is not attempts[-1],
        )
        for attempt in attempts
    )


def ran_for(attempt: Attempt, at: datetime) -> timedelta | None:
    """How long `attempt` ran by `at`; None where it never began."""
    if attempt.started_at is None:
        return None
    return max(timedelta(0), (attempt.ended_at or at) - attempt.started_at)


def ran_for_in_all(attempts: Iterable[Attempt], at: datetime) -> timedelta | None:
    """The time of all `attempts` together, which a time limit counts; None where none began."""
    times = [time for attempt in attempts if (time := ran_for(attempt, at)) is not None]
    return sum(times, timedelta(0)) if times else None


def shown_of(attempts: Sequence[Attempt]) -> Attempt | None:
    """Whose log and files are shown where nobody asks for another: the latest that has begun.

    While a retry waits, what the attempt before it printed is what people look for.
    """
    return max(attempts, key=lambda one: (one.started_at is not None, one.number), default=None)


def chosen_of(attempts: Sequence[Attempt], number: int | None) -> Attempt | None:
    """The attempt of this number, without one the one that is shown. Raises NotFound."""
    if number is None:
        return shown_of(attempts)
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    raise NotFound("There is no such attempt.")


def number_in(text: str) -> int | None:
    """The attempt a request asks for: None where it asks for none. Raises InvalidInput."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise InvalidInput.of(attempt="The number of an attempt is needed, such as 1.")
    return int(text)


def unseen_of(latest: Iterable[tuple[Workload, Attempt]]) -> dict[int, Unseen]:
    """Of which jobs nothing is known at present, by their key; at most one query.

    Takes each job, with its pool, and its latest attempt. Unknown is neither failed nor ended.
    """
    held = [(job, attempt) for job, attempt in latest if attempt.state in IN_ENGINE]
    if not held:
        return {}
    long_ago = clock.now() - UNKNOWN_AFTER
    engines = Engine.objects.filter(
        name__in={job.pool.backend for job, _ in held}, failing_since__lte=long_ago
    )
    failing = {engine.name: engine.failing_since or long_ago for engine in engines}
    found = {}
    for job, attempt in held:
        missing = attempt.missing_since
        if job.pool.backend in failing:
            since = failing[job.pool.backend]
            found[job.pk] = Unseen(min(since, missing or since), is_missing=False)
        elif missing is not None and missing <= long_ago:
            found[job.pk] = Unseen(missing, is_missing=True)
    return found


def is_queued_by_engine(pool: Pool) -> bool:
    """Whether the pool's engine orders its queue by itself, so that the portal knows no places."""
    return pool.backend in settings.BACKENDS and backend(pool.backend).queues
