"""Jobs as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from billing.queries.usage import Part, cost_of, intervals_of
from clusters.actions.jobs import RESOURCE_KIND
from clusters.choices import ENDINGS, WORKLOAD_TRANSITIONS, Reason, WorkloadStatus
from clusters.models import Attempt, Gpu, Workload, WorkloadEvent
from clusters.queries.logs import latest_attempt
from portal.lib import clock
from portal.lib.money import cost_micros

FINAL = frozenset(WORKLOAD_TRANSITIONS.final())
# What a filter of the list means: a word for people may stand for several statuses.
FILTERS: dict[str, tuple[WorkloadStatus, ...]] = {
    "active": (
        WorkloadStatus.QUEUED,
        WorkloadStatus.STARTING,
        WorkloadStatus.RUNNING,
        WorkloadStatus.STOPPING,
    ),
    "succeeded": (WorkloadStatus.SUCCEEDED,),
    "failed": (WorkloadStatus.FAILED,),
    "cancelled": (WorkloadStatus.CANCELLED,),
}


def queue_positions(jobs: Iterable[Workload]) -> dict[int, int]:
    """Place in its pool's queue of each job that waits, 1 being next; one query, none if none."""
    pools = {job.pool_id for job in jobs if job.status == WorkloadStatus.QUEUED}
    if not pools:
        return {}
    waiting = Workload.objects.filter(status=WorkloadStatus.QUEUED, pool__in=pools).annotate(
        place=Window(RowNumber(), partition_by=F("pool_id"), order_by=F("pk").asc())
    )
    return dict(waiting.values_list("pk", "place"))


def filtered(jobs: QuerySet[Workload], status: str) -> QuerySet[Workload]:
    """The jobs a filter of the list, or a status, names; all where it names nothing."""
    if status in FILTERS:
        return jobs.filter(status__in=FILTERS[status])
    return jobs.filter(status=status) if status in WorkloadStatus.values else jobs


def filter_counts(jobs: QuerySet[Workload]) -> dict[str, int]:
    """How many jobs each filter shows, and `all`; one query."""
    counts: dict[str, int] = jobs.order_by().aggregate(
        all=Count("pk"),
        **{name: Count("pk", filter=Q(status__in=wanted)) for name, wanted in FILTERS.items()},
    )
    return counts


@dataclass(frozen=True, slots=True)
class JobRow:
    """A line of the list. Money in micro-units; `rate_micros` an hour is 0 where nothing ticks."""

    job: Workload
    reason: str
    cost_micros: int
    rate_micros: int
    duration: timedelta | None
    position: int | None


def rows_of(jobs: Sequence[Workload]) -> list[JobRow]:
    """The lines of `jobs`, in two queries."""
    costs = cost_of(RESOURCE_KIND, [job.pk for job in jobs])
    positions = queue_positions(jobs)
    now = clock.now()
    return [
        JobRow(
            job=job,
            reason=reason_words(job),
            cost_micros=costs[job.pk],
            rate_micros=rate_of(job) if is_charging(job) else 0,
            duration=(job.ended_at or now) - job.started_at if job.started_at else None,
            position=positions.get(job.pk),
        )
        for job in jobs
    ]


def reason_words(job: Workload) -> str:
    """Why the job has its status, in one sentence without its full stop."""
    return Reason(job.reason).label


def advice_for(job: Workload) -> str:
    """What the person can do about how it ended; empty while it has not."""
    reason = Reason(job.reason)
    return ENDINGS[reason].advice if job.status in FINAL and reason in ENDINGS else ""


def rate_of(job: Workload) -> int:
    """Micro-units per hour while it runs. Needs `job.price` loaded."""
    return job.price.micros_per_hour * job.gpus


def is_charging(job: Workload) -> bool:
    """Whether its time costs money now."""
    return job.started_at is not None and job.status not in FINAL


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job came to at `at`, in micro-units.

    `closed_micros` is of what has ended; what runs adds `floor(price x gpus x time)` since
    `running_since`, which is None where nothing runs.
    """

    at: datetime
    total_micros: int
    closed_micros: int
    running_since: datetime | None
    parts: tuple[Part, ...]


def cost_now(job: Workload) -> Cost:
    """The cost of `job` and the intervals it is made of."""
    parts = tuple(intervals_of(RESOURCE_KIND, job.pk))
    closed = sum(part.amount_micros for part in parts if part.ended_at is not None)
    running = [part for part in parts if part.ended_at is None]
    return Cost(
        at=clock.now(),
        total_micros=sum(part.amount_micros for part in parts),
        closed_micros=closed,
        running_since=running[0].started_at if running else None,
        parts=parts,
    )


def most_micros(job: Workload) -> int:
    """What the job costs if it runs to its time limit."""
    return cost_micros(job.price.micros_per_hour, job.gpus, job.time_limit_seconds * 1_000_000)


@dataclass(frozen=True, slots=True)
class JobDetail:
    """All a job's page shows of its state."""

    job: Workload
    attempt: Attempt | None
    events: tuple[WorkloadEvent, ...]
    gpus: tuple[Gpu, ...]
    cost: Cost
    position: int | None
    reason: str
    advice: str

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.job.status in FINAL


def detail_of(job: Workload) -> JobDetail:
    """The job with its timeline, GPUs and cost, in a fixed number of queries."""
    attempt = latest_attempt(job)
    gpus = Gpu.objects.filter(allotments__attempt=attempt).order_by("node_id", "index")
    return JobDetail(
        job=job,
        attempt=attempt,
        events=tuple(WorkloadEvent.objects.filter(workload=job).order_by("pk")),
        gpus=tuple(gpus) if attempt else (),
        cost=cost_now(job),
        position=queue_positions([job]).get(job.pk),
        reason=reason_words(job),
        advice=advice_for(job),
    )
