"""Runs, of jobs and of notebooks, as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from billing.queries.usage import Part, burn_of, cost_of, intervals_of
from clusters.actions.launching import RESOURCE_KIND
from clusters.choices import AT_REST, ENDINGS, Reason, WorkloadKind, WorkloadStatus
from clusters.models import Attempt, Gpu, Workload, WorkloadEvent
from clusters.queries.attempts import (
    AttemptFacts,
    Unseen,
    attempt_facts,
    attempts_of,
    chosen_of,
    is_queued_by_engine,
    latest_by_job,
    ran_by_job,
    ran_for_in_all,
    unseen_of,
)
from portal.lib import clock
from portal.lib.money import cost_micros

# What the filters of a list mean: a word for people may stand for several statuses.
Filters = Mapping[str, tuple[WorkloadStatus, ...]]
_ACTIVE = (
    WorkloadStatus.QUEUED,
    WorkloadStatus.STARTING,
    WorkloadStatus.RUNNING,
    WorkloadStatus.STOPPING,
)
JOB_FILTERS: Filters = {
    "active": _ACTIVE,
    "succeeded": (WorkloadStatus.SUCCEEDED,),
    "failed": (WorkloadStatus.FAILED,),
    "cancelled": (WorkloadStatus.CANCELLED,),
}
NOTEBOOK_FILTERS: Filters = {
    "active": _ACTIVE,
    "stopped": (WorkloadStatus.STOPPED,),
    "failed": (WorkloadStatus.FAILED,),
}


def queue_positions(jobs: Iterable[Workload]) -> dict[int, int]:
    """Place in its pool's queue of each job that waits, 1 being next; one query, none if none.

    Jobs need their pool loaded. Where an engine orders its queue by itself there are no places.
    """
    pools = {
        job.pool_id
        for job in jobs
        if job.status == WorkloadStatus.QUEUED and not is_queued_by_engine(job.pool)
    }
    if not pools:
        return {}
    waiting = Workload.objects.filter(status=WorkloadStatus.QUEUED, pool__in=pools).annotate(
        place=Window(RowNumber(), partition_by=F("pool_id"), order_by=F("pk").asc())
    )
    return dict(waiting.values_list("pk", "place"))


def filtered(jobs: QuerySet[Workload], status: str, filters: Filters) -> QuerySet[Workload]:
    """The runs one of `filters`, or a status, names; all where it names nothing."""
    if status in filters:
        return jobs.filter(status__in=filters[status])
    return jobs.filter(status=status) if status in WorkloadStatus.values else jobs


def filter_counts(jobs: QuerySet[Workload], filters: Filters) -> dict[str, int]:
    """How many runs each filter shows, and `all`; one query."""
    counts: dict[str, int] = jobs.order_by().aggregate(
        all=Count("pk"),
        **{name: Count("pk", filter=Q(status__in=wanted)) for name, wanted in filters.items()},
    )
    return counts


@dataclass(frozen=True, slots=True)
class RunRow:
    """A line of the list. Money in micro-units; `rate_micros` an hour is 0 where nothing ticks.

    `duration` is over all attempts, `attempt` the number of the latest.
    """

    job: Workload
    reason: str
    cost_micros: int
    rate_micros: int
    duration: timedelta | None
    position: int | None
    attempt: int
    unseen: Unseen | None
    at: datetime

    @property
    def ticks_from(self) -> datetime:
        """From when a clock that shows `duration` would have run without a break."""
        return self.at - (self.duration or timedelta(0))


def rows_of(jobs: Sequence[Workload]) -> list[RunRow]:
    """The lines of `jobs`, in at most six queries."""
    keys = [job.pk for job in jobs]
    costs, burns = cost_of(RESOURCE_KIND, keys), burn_of(RESOURCE_KIND, keys)
    positions = queue_positions(jobs)
    latest = latest_by_job(jobs)
    unseen = unseen_of((job, latest[job.pk]) for job in jobs if job.pk in latest)
    now = clock.now()
    times = ran_by_job(jobs, at=now)
    return [
        RunRow(
            job=job,
            reason=reason_words(job),
            cost_micros=costs[job.pk],
            rate_micros=burns.get(job.pk, 0),
            duration=times.get(job.pk),
            position=positions.get(job.pk),
            attempt=latest[job.pk].number if job.pk in latest else 0,
            unseen=unseen.get(job.pk),
            at=now,
        )
        for job in jobs
    ]


def reason_words(job: Workload) -> str:
    """Why the job has its status, in one sentence without its full stop."""
    return Reason(job.reason).label


# What is said of a notebook instead of what ENDINGS says of a job.
_NOTEBOOK_ADVICE: dict[Reason, str] = {
    Reason.COMPLETED: "Start it again when you need it.",
    Reason.STOPPED: "Start it again when you need it.",
    Reason.CANCELLED_IN_QUEUE: "Nothing more was charged. Start it again when you need it.",
    Reason.TIME_LIMIT: "Start it again, or launch a copy of it that may run longer.",
    Reason.FUNDS_EXHAUSTED: "Add credit and start it again; its files are kept.",
    Reason.BUDGET_REACHED: "Raise the budget and start it again; its files are kept.",
    Reason.PREEMPTED: "Start it again; its files are kept.",
    Reason.OUT_OF_MEMORY: "Start it again, or launch a copy on more GPUs: memory comes with them.",
    Reason.USER_ERROR: "The last lines of the log usually say why.",
}


def advice_for(job: Workload) -> str:
    """What the person can do about how it ended; empty while it has not."""
    reason = Reason(job.reason)
    if job.status not in AT_REST or reason not in ENDINGS:
        return ""
    is_notebook = job.kind == WorkloadKind.NOTEBOOK
    own = _NOTEBOOK_ADVICE.get(reason) if is_notebook else None
    return own or ENDINGS[reason].advice


def rate_of(job: Workload) -> int:
    """Micro-units per hour while it runs. Needs `job.price` loaded."""
    return job.price.micros_per_hour * job.gpus


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job came to at `at`, in micro-units.

    `closed_micros` is of what has ended; what runs adds `floor(price x gpus x time)` since
    `running_since`, which is None where nothing runs, or may be charged no further.
    """

    at: datetime
    total_micros: int
    closed_micros: int
    running_since: datetime | None
    parts: tuple[Part, ...]


def cost_now(job: Workload) -> Cost:
    """The cost of `job` and the intervals it is made of."""
    parts = tuple(intervals_of(RESOURCE_KIND, job.pk))
    closed = sum(part.net_micros for part in parts if part.ended_at is not None)
    running = [part for part in parts if part.burn_micros_per_hour]
    return Cost(
        at=clock.now(),
        total_micros=sum(part.net_micros for part in parts),
        closed_micros=closed,
        running_since=running[0].started_at if running else None,
        parts=parts,
    )


def most_micros(job: Workload) -> int:
    """What the job costs if it runs to its time limit."""
    return cost_micros(job.price.micros_per_hour, job.gpus, job.time_limit_seconds * 1_000_000)


@dataclass(frozen=True, slots=True)
class RunDetail:
    """All a run's page shows of its state.

    `shown` is the attempt whose log, files and GPUs are shown; `attempt` the latest.
    """

    job: Workload
    attempts: tuple[AttemptFacts, ...]
    shown: Attempt | None
    events: tuple[WorkloadEvent, ...]
    gpus: tuple[Gpu, ...]
    cost: Cost
    position: int | None
    reason: str
    advice: str
    unseen: Unseen | None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.job.status in AT_REST

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1].attempt if self.attempts else None

    @property
    def before(self) -> Attempt | None:
        """The attempt the latest one repeats; None where it was started anew."""
        return self.attempts[-2].attempt if self.tries > 1 else None

    @property
    def tries(self) -> int:
        """How many attempts there were since it was last started by somebody."""
        return self.attempts[-1].number - self.job.first_attempt + 1 if self.attempts else 0

    @property
    def ran_for(self) -> timedelta | None:
        """How long it ran, over all attempts."""
        return ran_for_in_all((facts.attempt for facts in self.attempts), self.cost.at)


def detail_of(job: Workload, *, attempt: int | None = None) -> RunDetail:
    """The run with its timeline, attempts, GPUs and cost, in a fixed number of queries.

    `attempt` chooses the one that is shown. Raises NotFound where there is no such one.
    """
    attempts = attempts_of(job)
    shown = chosen_of(attempts, attempt)
    gpus = Gpu.objects.filter(allotments__attempt=shown).order_by("node_id", "index")
    cost = cost_now(job)
    return RunDetail(
        job=job,
        attempts=attempt_facts(attempts, cost.parts, at=cost.at),
        shown=shown,
        events=tuple(WorkloadEvent.objects.filter(workload=job).order_by("pk")),
        gpus=tuple(gpus) if shown else (),
        cost=cost,
        position=queue_positions([job]).get(job.pk),
        reason=reason_words(job),
        advice=advice_for(job),
        unseen=unseen_of([(job, attempts[-1])] if attempts else []).get(job.pk),
    )
