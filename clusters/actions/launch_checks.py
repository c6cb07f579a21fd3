"""Decides whether a launch may be; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accounts.actor import Actor
from clusters.access import pools_of, volumes_of
from clusters.actions.request_checks import (
    check_command,
    check_env,
    check_environment,
    check_gpus,
    check_max_cost,
    check_name,
    check_nodes,
    check_project,
    check_retries,
    check_time_limit,
    check_volume,
)
from clusters.models import Pool, Volume
from portal.lib.errors import InvalidInput

NO_POOL = "There is no such pool. Choose one of the list."


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as asked for.

    `gpus` in all, shared equally by `nodes`. `env` holds variables of the process. The time limit
    is in seconds, over all attempts. `retries`: how often an error of its own is tried again.
    `project` is a label of the team's own, to split cost by. A run that has come to
    `max_cost_micros` is stopped; 0 is no limit. `volume` is the id of one to mount at /workspace.
    """

    name: str
    pool: str
    gpus: int
    command: str
    time_limit_seconds: int = 3600
    environment: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1
    retries: int = 0
    project: str = ""
    max_cost_micros: int = 0
    volume: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a launch goes: its pool, and the volume that is mounted, if any."""

    pool: Pool
    volume: Volume | None


def check_launch(actor: Actor, request: JobRequest) -> Places:
    """Where to launch. Raises InvalidInput naming every field that is wrong."""
    pool = pool_asked(actor, request.pool)
    volume = volume_asked(actor, request.volume)
    problems = {
        "pool": "" if pool else NO_POOL,
        "name": check_name(request.name),
        "project": check_project(request.project),
        "command": check_command(request.command),
        "env": check_env(request.env),
        "gpus": check_gpus(pool, request.gpus, request.nodes),
        "nodes": check_nodes(pool, request.nodes),
        "retries": check_retries(request.retries),
        "environment": check_environment(pool, request.environment),
        "max_cost": check_max_cost(request.max_cost_micros),
        "time_limit_seconds": check_time_limit(pool, request.time_limit_seconds),
        "volume": check_volume(pool, volume, request.volume),
    }
    refuse(problems)
    assert pool is not None  # noqa: S101  # else it was refused
    return Places(pool, volume)


def pool_asked(actor: Actor, slug: str) -> Pool | None:
    """The pool of this name that the actor may use."""
    return pools_of(actor).filter(slug=slug[:100].replace("\0", "")).first()


def volume_asked(actor: Actor, volume_id: str) -> Volume | None:
    """The team's volume of this id; None where there is none, or none was asked for."""
    if not volume_id:
        return None
    return volumes_of(actor).filter(public_id=volume_id[:60].replace("\0", "")).first()


def refuse(problems: Mapping[str, str]) -> None:
    """Raises InvalidInput with every problem that is not empty."""
    found = {name: problem for name, problem in problems.items() if problem}
    if found:
        raise InvalidInput(next(iter(found.values())), fields=found)
