"""What does not move on as it should, each with what to do about it.

Each check is one query (`_head_waits`: three) whatever the size, and shows at most `MOST` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from billing.models import Hold, UsageInterval
from clusters.actions.launching import RESOURCE_KIND
from clusters.backends.registry import backend_names
from clusters.choices import AT_REST, AttemptState
from clusters.models import Attempt, Engine, Gpu, GpuAllotment, Pool, Workload
from clusters.queries.engines import engine_choices, engine_named
from portal.lib import clock

# A hand-over takes a lease of 30 s; after a second one it is not just slow.
PLACED_TOO_LONG = timedelta(seconds=60)
# Each engine is surveyed every second, and tried again every 30 s while it fails.
UNSEEN_TOO_LONG = timedelta(seconds=60)
# One survey may be older than the hand-over it lacks; ten are not.
MISSING_TOO_LONG = timedelta(seconds=10)
# After the grace the engine kills; a lost request is made again 20 s later.
STOPPING_TOO_LONG = timedelta(seconds=60)
# Placing runs every second, and at each end of a run.
WAITING_TOO_LONG = timedelta(seconds=60)
MOST = 50


@dataclass(frozen=True, slots=True)
class Stuck:
    """One thing that needs a look. `job_id` is its run's public id, "" where there is none."""

    what: str
    name: str
    since: datetime | None
    detail: str
    advice: str
    job_id: str = ""
    pool: str = ""


def find_stuck(pools: Iterable[Pool], engines: Iterable[Engine]) -> list[Stuck]:
    """Everything that is stuck now, engines and pools first."""
    known = list(pools)
    found = [*_engines(known, engines), *_pools(known), *_head_waits(known)]
    for check in _CHECKS:
        found.extend(check(clock.now()))
    return found


def _engines(pools: list[Pool], engines: Iterable[Engine]) -> Iterator[Stuck]:
    used = {pool.backend for pool in pools}
    labels = backend_names()
    rows = {engine.name: engine for engine in engines}
    long_ago = clock.now() - UNSEEN_TOO_LONG
    known_long = {pool.backend for pool in pools if pool.created_at < long_ago}
    for choice in engine_choices():
        if choice.problem and choice.name in used:
            advice = "Mend the settings and restart the workers."
            yield Stuck("Engine cannot be made", choice.label, None, choice.problem, advice)
    for name in sorted(used):
        label, engine = labels.get(name, name), rows.get(name)
        if name not in labels:
            detail = f"The settings hold no engine {name}, but a pool is on it."
            advice = "Put it back into the settings; its work is left as it is until then."
            yield Stuck("Engine is gone", label, None, detail, advice)
        elif _is_unseen(engine, long_ago, is_new=name not in known_long):
            yield _unseen_engine(label, engine)
        if engine is not None and engine.strays:
            shown = ", ".join(engine.strays[:5])
            advice = "Nothing here knows them: find out who started them, and end them there."
            yield Stuck("Strays", label, None, f"{len(engine.strays)}: {shown}", advice)


def _is_unseen(engine: Engine | None, since: datetime, *, is_new: bool) -> bool:
    if engine is None or engine.surveyed_at is None:
        return not is_new
    return engine.surveyed_at < since


def _unseen_engine(label: str, engine: Engine | None) -> Stuck:
    if engine is not None and engine.failing_since is not None:
        advice = "Its work goes on and is left as it is. Make the engine answer; the rest follows."
        return Stuck("Engine does not answer", label, engine.failing_since, engine.error, advice)
    since = engine.surveyed_at if engine else None
    advice = "Look whether a worker and beat run; a lease that never ends is taken over in 30 s."
    return Stuck("Engine is not looked at", label, since, "No survey has come in.", advice)


def _pools(pools: list[Pool]) -> Iterator[Stuck]:
    for pool in pools:
        if pool.breaker_opened_at is not None:
            advice = "Find what the machines have in common, then close the breaker in the console."
            yield Stuck(
                "Breaker open", pool.name, pool.breaker_opened_at, pool.breaker_detail, advice,
                pool=pool.slug,
            )  # fmt: skip
        if pool.is_open and not pool.may_start:
            advice = "The pool starts work again by itself once this is mended."
            yield Stuck(
                "Pool starts nothing", pool.name, None, pool.health_detail, advice, pool=pool.slug
            )


def _head_waits(pools: list[Pool]) -> Iterator[Stuck]:
    """The first in line of each pool, where it is due, fits and is not placed."""
    now = clock.now()
    starting = [p for p in pools if p.is_open and p.may_start and p.breaker_opened_at is None]
    heads = (
        Attempt.objects.filter(
            Q(not_before__isnull=True) | Q(not_before__lte=now),
            state=AttemptState.INTENDED,
            pool__in=starting,
        )
        .annotate(due_since=Greatest("created_at", "not_before"))  # PostgreSQL skips NULL
        .select_related("workload__pool")
        .order_by("pool_id", "workload_id")
        .distinct("pool_id")
    )
    late: list[Any] = [head for head in heads if head.due_since < now - WAITING_TOO_LONG]
    if not late:
        return
    rooms = _largest_room([head.pool_id for head in late])
    moved = _moved_since(now - WAITING_TOO_LONG, [head.pool_id for head in late])
    for head in late:
        fits = _queues(head.workload.pool) or rooms.get(head.pool_id, 0) >= head.workload.gpus
        if fits and head.pool_id not in moved:
            detail = f"Attempt {head.number} is first in line and its pool has room."
            advice = "Look whether a worker runs; its log says why nothing is placed."
            yield _of(head, "Waits though there is room", head.due_since, detail, advice)


def _queues(pool: Pool) -> bool:
    return pool.backend in backend_names() and engine_named(pool.backend).queues


def _largest_room(pool_ids: list[int]) -> dict[int, int]:
    """The most GPUs free on one node of each pool."""
    free = (
        Gpu.objects.filter(
            node__pool__in=pool_ids, is_present=True, node__problem="", node__drain_reason=""
        )
        .exclude(allotments__released_at__isnull=True, allotments__isnull=False)
        .order_by()
        .values("node__pool_id", "node_id")
        .annotate(count=Count("pk"))
    )
    largest: dict[int, int] = {}
    for row in free:
        pool_id = row["node__pool_id"]
        largest[pool_id] = max(largest.get(pool_id, 0), row["count"])
    return largest


def _moved_since(at: datetime, pool_ids: list[int]) -> set[int]:
    """Pools in which a run ended since: the room may be a moment old."""
    ended = Attempt.objects.filter(pool__in=pool_ids, ended_at__gt=at)
    return set(ended.order_by().values_list("pool_id", flat=True).distinct())


def _placed(now: datetime) -> Iterator[Stuck]:
    advice = "It is tried again under its name. Look at the engine and at the worker's log."
    rows = _attempts(state=AttemptState.PLACED, placed_at__lt=now - PLACED_TOO_LONG)
    for row in rows:
        yield _of(row, "Not handed over", row.placed_at, _held(row, now), advice)


def _unseen(now: datetime) -> Iterator[Stuck]:
    surveys = Engine.objects.filter(
        name=OuterRef("pool__backend"), surveyed_at__gte=OuterRef("submitted_at")
    )
    rows = _attempts(
        ~Exists(surveys),
        state=AttemptState.SUBMITTED,
        submitted_at__lt=now - UNSEEN_TOO_LONG,
    )
    advice = "Nothing is lost: it is found at the engine's next answer."
    for row in rows:
        detail = "No survey since it was handed over."
        yield _of(row, "Handed over, never seen", row.submitted_at, detail, advice)


def _missing(now: datetime) -> Iterator[Stuck]:
    rows = _attempts(
        state__in=[AttemptState.SUBMITTED, AttemptState.RUNNING],
        missing_since__lt=now - MISSING_TOO_LONG,
    )
    advice = "Look for it in the engine; after two minutes it counts as lost, and is retried."
    for row in rows:
        detail = f"Its engine answers without it. It was last on {row.node or 'no node'}."
        yield _of(row, "Missing", row.missing_since, detail, advice)


def _stopping(now: datetime) -> Iterator[Stuck]:
    grace = F("pool__grace_seconds") * timedelta(seconds=1)
    rows = _attempts(
        ~Q(state=AttemptState.ENDED),
        workload__stop_requested_at__lt=now - STOPPING_TOO_LONG - grace,
    )
    advice = "The stop is repeated. If the engine answers, end it there: the bill stops with it."
    for row in rows:
        detail = f"{row.get_state_display()} on {row.node or 'no node'}."
        yield _of(row, "Does not stop", row.workload.stop_requested_at, detail, advice)


def _unmetered(_now: datetime) -> Iterator[Stuck]:
    metered = UsageInterval.objects.filter(
        resource_kind=RESOURCE_KIND,
        resource_id=OuterRef("workload_id"),
        resource_attempt=OuterRef("number"),
        ended_at__isnull=True,
    )
    advice = "A defect: it runs for nothing. Tell the developers, with its id."
    for row in _attempts(~Exists(metered), state=AttemptState.RUNNING):
        yield _of(row, "Runs without a meter", row.started_at, "No open usage interval.", advice)


def _still_metered(_now: datetime) -> Iterator[Stuck]:
    metered = UsageInterval.objects.filter(resource_kind=RESOURCE_KIND, ended_at__isnull=True)
    ended = Attempt.objects.filter(
        workload_id=OuterRef("resource_id"),
        number=OuterRef("resource_attempt"),
        state=AttemptState.ENDED,
    )
    advice = "A defect: it is charged for what it does not use. Tell the developers."
    for row in metered.filter(Exists(ended)).order_by("pk")[:MOST]:
        detail = f"Attempt {row.resource_attempt} has ended, its usage interval has not."
        yield Stuck(
            "Ended, still metered", row.resource_label, row.started_at, detail, advice,
            job_id=row.resource_public_id,
        )  # fmt: skip


def _gpus_kept(_now: datetime) -> Iterator[Stuck]:
    kept = (
        GpuAllotment.objects.filter(released_at__isnull=True, attempt__state=AttemptState.ENDED)
        .select_related("gpu", "attempt__workload__pool")
        .order_by("pk")
    )
    advice = "A defect: nobody else gets the GPU. Tell the developers."
    for row in kept[:MOST]:
        detail = f"Still has {row.gpu.uuid}."
        yield _of(row.attempt, "Ended, keeps GPUs", row.attempt.ended_at, detail, advice)


def _holds_kept(_now: datetime) -> Iterator[Stuck]:
    held = Hold.objects.filter(resource_kind=RESOURCE_KIND, released_at__isnull=True)
    ended = Workload.objects.filter(pk=OuterRef("resource_id"), status__in=AT_REST)
    jobs = Workload.objects.in_bulk(
        list(held.filter(Exists(ended)).values_list("resource_id", flat=True)[:MOST])
    )
    advice = "A defect: the team cannot spend what is held. Tell the developers."
    for job in jobs.values():
        detail = "Its funds are still set aside."
        yield Stuck(
            "Ended, keeps a hold", job.name, job.ended_at, detail, advice, job_id=job.public_id
        )


_CHECKS: tuple[Callable[[datetime], Iterator[Stuck]], ...] = (
    _placed,
    _unseen,
    _missing,
    _stopping,
    _unmetered,
    _still_metered,
    _gpus_kept,
    _holds_kept,
)


def _attempts(*conditions: Any, **columns: Any) -> QuerySet[Attempt]:
    found = Attempt.objects.filter(*conditions, **columns).select_related("workload__pool")
    return found.order_by("pk")[:MOST]


def _held(row: Attempt, now: datetime) -> str:
    if row.lease_expires_at is not None and row.lease_expires_at > now:
        return f"{row.lease_owner or 'somebody'} has it."
    return "Nobody has it."


def _of(row: Attempt, what: str, since: datetime | None, detail: str, advice: str) -> Stuck:
    return Stuck(
        what, row.external_name, since, detail, advice,
        job_id=row.workload.public_id, pool=row.workload.pool.slug,
    )  # fmt: skip
