"""How the control loop does: engines, pools, workers, leases, and what is stuck."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.db.models import Count, Min, Q

from clusters.backends.registry import backend_names
from clusters.choices import AttemptState
from clusters.control.owners import workers as workers_seen
from clusters.models import Attempt, Engine, Pool
from clusters.queries.stuck import MOST, Stuck, find_stuck
from portal.lib import clock

logger = logging.getLogger(__name__)
LIVE_STATES = tuple(state for state in AttemptState if state != AttemptState.ENDED)


@dataclass(frozen=True, slots=True)
class EngineLine:
    """One engine; `lag` since its last whole survey, None where none has come in."""

    name: str
    label: str
    surveyed_at: datetime | None
    lag: timedelta | None
    survey_ms: float
    failing_since: datetime | None
    failures: int
    error: str
    retry_at: datetime | None
    lease_owner: str
    lease_expires_at: datetime | None
    strays: Sequence[str]


@dataclass(frozen=True, slots=True)
class PoolLine:
    """One pool; `counts` of its live attempts by state, `waiting` those not placed yet."""

    slug: str
    name: str
    backend: str
    is_open: bool
    may_start: bool
    health_detail: str
    breaker_opened_at: datetime | None
    breaker_detail: str
    observed_at: datetime | None
    waiting: int
    oldest_waiting_at: datetime | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that swept lately: `host:pid:create time`."""

    name: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """An attempt that a worker hands over now."""

    attempt: str
    owner: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """The loop at one instant. `workers` is None where the cache does not answer."""

    at: datetime
    engines: list[EngineLine]
    pools: list[PoolLine]
    workers: list[Worker] | None
    leases: list[Lease]
    lease_count: int
    stuck: list[Stuck] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nobody need look."""
        return not self.stuck

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it, but for instants and spans."""
        return {"is_well": self.is_well, **asdict(self)}


def loop_status() -> LoopStatus:
    """The loop as it stands, in a number of queries that no count of runs or pools changes."""
    now = clock.now()
    pools = list(Pool.objects.order_by("name", "pk"))
    engines = list(Engine.objects.order_by("name"))
    workers = _workers()
    held = Attempt.objects.filter(lease_expires_at__gt=now).exclude(state=AttemptState.ENDED)
    leases = held.order_by("lease_expires_at").values_list(
        "external_name", "lease_owner", "lease_expires_at"
    )[:MOST]
    return LoopStatus(
        at=now,
        engines=_engine_lines(engines, {pool.backend for pool in pools}, now),
        pools=_pool_lines(pools),
        workers=workers,
        leases=[Lease(name, owner, at) for name, owner, at in leases if at is not None],
        lease_count=held.count(),
        stuck=[*_nobody(workers), *find_stuck(pools, engines)],
    )


def _engine_lines(engines: list[Engine], used: set[str], now: datetime) -> list[EngineLine]:
    rows = {engine.name: engine for engine in engines}
    labels = backend_names()
    lines = []
    for name in sorted(used | labels.keys() | rows.keys()):
        row = rows.get(name) or Engine(name=name)
        is_leased = row.lease_expires_at is not None and row.lease_expires_at > now
        lines.append(
            EngineLine(
                name=name,
                label=labels.get(name, name),
                surveyed_at=row.surveyed_at,
                lag=max(now - row.surveyed_at, timedelta(0)) if row.surveyed_at else None,
                survey_ms=row.survey_ms,
                failing_since=row.failing_since,
                failures=row.failures,
                error=row.error,
                retry_at=row.retry_at,
                lease_owner=row.lease_owner if is_leased else "",
                lease_expires_at=row.lease_expires_at if is_leased else None,
                strays=row.strays,
            )
        )
    return lines


def _pool_lines(pools: list[Pool]) -> list[PoolLine]:
    counts: dict[int, dict[str, int]] = {pool.pk: {} for pool in pools}
    oldest: dict[int, datetime] = {}
    live = Attempt.objects.filter(state__in=LIVE_STATES).order_by()
    grouped = live.values("pool_id", "state").annotate(
        count=Count("pk"),
        oldest=Min("created_at", filter=Q(state=AttemptState.INTENDED)),
    )
    for row in grouped:
        counts.setdefault(row["pool_id"], {})[row["state"]] = row["count"]
        if row["oldest"] is not None:
            oldest[row["pool_id"]] = row["oldest"]
    return [
        PoolLine(
            slug=pool.slug,
            name=pool.name,
            backend=pool.backend,
            is_open=pool.is_open,
            may_start=pool.may_start,
            health_detail=pool.health_detail,
            breaker_opened_at=pool.breaker_opened_at,
            breaker_detail=pool.breaker_detail,
            observed_at=pool.observed_at,
            waiting=counts[pool.pk].get(AttemptState.INTENDED, 0),
            oldest_waiting_at=oldest.get(pool.pk),
            counts={state.value: counts[pool.pk].get(state, 0) for state in LIVE_STATES},
        )
        for pool in pools
    ]


def _workers() -> list[Worker] | None:
    try:
        seen = workers_seen()
    except redis.RedisError as error:
        logger.warning("the cache does not say which workers live: %s", error)
        return None
    return [Worker(name, datetime.fromtimestamp(at, UTC)) for name, at in sorted(seen.items())]


def _nobody(workers: list[Worker] | None) -> list[Stuck]:
    if workers:
        return []
    if workers is None:
        advice = "Look at Valkey. Work that runs goes on; nothing new is started meanwhile."
        return [Stuck("Cache does not answer", "Valkey", None, "No worker can be seen.", advice)]
    advice = "Start a worker and beat. Work that runs goes on; nothing is lost meanwhile."
    return [Stuck("Nobody drives", "Workers", None, "No sweep in the last 10 s.", advice)]
