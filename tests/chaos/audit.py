"""What must be true of a launch once everything about it is over, whatever was killed meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from billing.models import Hold, UsageCredit, UsageInterval
from clusters.actions.launching import RESOURCE_KIND
from clusters.choices import AT_REST, ENDINGS, AttemptState, Reason
from clusters.models import Attempt, GpuAllotment, Workload, WorkloadEvent
from tests.chaos.engine import Execution


def problems_of(job: Workload, executions: Iterable[Execution]) -> list[str]:
    """Sentences; none where all is as it should be. `executions` are those of the whole engine."""
    mine = sorted(
        (one for one in executions if one.run_id == job.public_id), key=lambda one: one.ended_at
    )
    attempts = list(Attempt.objects.filter(workload=job).order_by("number"))
    return [
        *_of_executions(attempts, mine),
        *_of_overlaps(mine),
        *_of_usage(job, attempts, mine),
        *_of_leftovers(job, attempts),
        *_of_the_timeline(job),
    ]


def _of_executions(attempts: list[Attempt], mine: list[Execution]) -> Iterator[str]:
    begun = Counter(one.name for one in mine if one.began_at is not None)
    for attempt in attempts:
        expected = int(attempt.started_at is not None)
        if begun[attempt.external_name] != expected:
            times = begun[attempt.external_name]
            yield f"{attempt.external_name} was executed {times} times, not {expected}"
        if attempt.state != AttemptState.ENDED:
            yield f"{attempt.external_name} is still {attempt.state}"
    for name in begun.keys() - {attempt.external_name for attempt in attempts}:
        yield f"{name} was executed and no row knows it"
    if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
        yield f"attempts {[attempt.number for attempt in attempts]}"


def _of_overlaps(mine: list[Execution]) -> Iterator[str]:
    ran = [one for one in mine if one.began_at is not None]
    for one, following in pairwise(ran):
        assert following.began_at is not None
        if following.began_at < one.ended_at:
            yield f"{following.name} began while {one.name} ran"


def _of_usage(job: Workload, attempts: list[Attempt], mine: list[Execution]) -> Iterator[str]:
    ran = {one.name: (one.began_at, one.ended_at) for one in mine if one.began_at is not None}
    expected = {
        attempt.number: ran[attempt.external_name]
        for attempt in attempts
        if attempt.external_name in ran
    }
    intervals = UsageInterval.objects.filter(resource_kind=RESOURCE_KIND, resource_id=job.pk)
    found = {one.resource_attempt: (one.started_at, one.ended_at) for one in intervals}
    if found != expected:
        yield f"metered {found}, ran {expected}"
    ours = {
        attempt.number
        for attempt in attempts
        if attempt.number in expected and not ENDINGS[Reason(attempt.reason)].is_billable
    }
    credited = set(
        UsageCredit.objects.filter(interval__in=intervals).values_list(
            "interval__resource_attempt", flat=True
        )
    )
    if credited != ours:
        yield f"credited attempts {credited}, a fault of ours ended {ours}"


def _of_leftovers(job: Workload, attempts: list[Attempt]) -> Iterator[str]:
    holds = Hold.objects.filter(resource_kind=RESOURCE_KIND, resource_id=job.pk)
    if holds.count() != 1 or holds.filter(released_at__isnull=True).exists():
        yield "its hold was not taken once and released"
    if GpuAllotment.objects.filter(attempt__in=attempts, released_at__isnull=True).exists():
        yield "it still has GPUs"
    if any(attempt.lease_token is not None for attempt in attempts):
        yield "an attempt is still leased"


def _of_the_timeline(job: Workload) -> Iterator[str]:
    final = AT_REST
    ends = WorkloadEvent.objects.filter(workload=job, status__in=final).count()
    if job.status not in final or ends != 1:
        yield f"it is {job.status} and its timeline has {ends} ends"
