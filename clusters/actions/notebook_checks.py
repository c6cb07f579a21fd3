"""Decides whether a notebook may be launched; writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from accounts.actor import Actor
from clusters.actions.launch_checks import NO_POOL, Places, pool_asked, refuse, volume_asked
from clusters.actions.request_checks import (
    check_environment,
    check_gpus,
    check_idle_minutes,
    check_max_cost,
    check_name,
    check_project,
    check_stop_at,
    check_time_limit,
    check_volume,
)
from clusters.backends.capabilities import Serving
from clusters.backends.registry import backend
from clusters.models import Pool

# The bare system has no Jupyter.
BARE = "system"
DEFAULT_LIFETIME_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class NotebookRequest:
    """A notebook as asked for.

    It runs for `lifetime_seconds` at most, until `stop_at` if that comes before, and until it was
    idle for `idle_minutes` (0: never; None: as the settings say). `volume` is the id of one to
    mount at /workspace; without, files last as long as the notebook.
    """

    name: str
    pool: str
    gpus: int = 1
    environment: str = ""
    volume: str = ""
    idle_minutes: int | None = None
    lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS
    stop_at: datetime | None = None
    project: str = ""
    max_cost_micros: int = 0

    @property
    def idle_limit(self) -> int:
        """The idle minutes that hold."""
        return settings.IDLE_MINUTES if self.idle_minutes is None else self.idle_minutes


def check_notebook(actor: Actor, request: NotebookRequest) -> Places:
    """Where to launch. Raises InvalidInput naming every field that is wrong."""
    pool = pool_asked(actor, request.pool)
    volume = volume_asked(actor, request.volume)
    refuse(
        {
            "pool": _check_pool(pool),
            "name": check_name(request.name),
            "project": check_project(request.project),
            "gpus": check_gpus(pool, request.gpus, 1),
            "environment": _check_environment(pool, request.environment),
            "volume": check_volume(pool, volume, request.volume),
            "idle_minutes": check_idle_minutes(request.idle_limit),
            "lifetime_seconds": check_time_limit(pool, request.lifetime_seconds),
            "stop_at": check_stop_at(request.stop_at),
            "max_cost": check_max_cost(request.max_cost_micros),
        }
    )
    assert pool is not None  # noqa: S101  # else it was refused
    return Places(pool, volume)


def serves(pool: Pool) -> bool:
    """Whether notebooks can run in the pool."""
    return (
        pool.backend in settings.BACKENDS
        and isinstance(backend(pool.backend), Serving)
        and bool(environments_of(pool))
    )


def environments_of(pool: Pool) -> list[str]:
    """Those environments the pool has now that a notebook can run in."""
    return [name for name in pool.offered_environments if name != BARE]


def _check_pool(pool: Pool | None) -> str:
    if pool is None:
        return NO_POOL
    return "" if serves(pool) else f"{pool.name} runs no notebooks. Choose another pool."


def _check_environment(pool: Pool | None, environment: str) -> str:
    if environment == BARE:
        return "The bare system has no Jupyter. Choose another environment."
    return check_environment(pool, environment)
