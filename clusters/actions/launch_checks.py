"""Decides whether a launch may be; writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import Count

from accounts.actor import Actor
from billing.actions.budgets import MAX_BUDGET_MICROS
from clusters.access import pools_of
from clusters.models import Gpu, Pool
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS_PER_CENT, format_money

MAX_COMMAND_BYTES = 100_000
MAX_ENV_BYTES = 32_000
MAX_ENV_COUNT = 100
MAX_NAME = 100
MAX_PROJECT = 60
MIN_TIME_LIMIT_SECONDS = 10
MAX_RETRIES = 10
_NAME = re.compile(r"[\w][\w .,:+()#@/=-]*", re.UNICODE)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as asked for.

    `gpus` in all, shared equally by `nodes`. `env` holds variables of the process. The time limit
    is in seconds, over all attempts. `retries`: how often an error of its own is tried again.
    `project` is a label of the team's own, to split cost by. A run that has come to
    `max_cost_micros` is stopped; 0 is no limit.
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


def check_launch(actor: Actor, request: JobRequest) -> Pool:
    """The pool to launch in. Raises InvalidInput naming every field that is wrong."""
    problems: dict[str, str] = {}
    pool = pools_of(actor).filter(slug=request.pool[:100].replace("\0", "")).first()
    if pool is None:
        problems["pool"] = "There is no such pool. Choose one of the list."
    found = {
        "name": _check_name(request.name),
        "project": _check_project(request.project),
        "command": _check_command(request.command),
        "env": _check_env(request.env),
        "gpus": _check_gpus(pool, request.gpus, request.nodes),
        "nodes": _check_nodes(pool, request.nodes),
        "retries": _check_retries(request.retries),
        "environment": _check_environment(pool, request.environment),
        "max_cost": _check_max_cost(request.max_cost_micros),
        "time_limit_seconds": _check_time_limit(pool, request.time_limit_seconds),
    }
    problems |= {name: problem for name, problem in found.items() if problem}
    if problems or pool is None:
        raise InvalidInput(next(iter(problems.values())), fields=problems)
    return pool


def _check_name(name: str) -> str:
    if not name.strip():
        return "Give the job a name."
    if len(name) > MAX_NAME:
        return f"A name has at most {MAX_NAME} characters; this one has {len(name)}."
    if not _NAME.fullmatch(name):
        return "Use letters, digits, spaces and . , : + ( ) # @ / = - _ only."
    return ""


def _check_project(project: str) -> str:
    if len(project.strip()) > MAX_PROJECT:
        return f"A project has at most {MAX_PROJECT} characters; this one has {len(project)}."
    if not project.isprintable():
        return "A project is plain text on one line, without control characters."
    return ""


def _check_max_cost(micros: int) -> str:
    if micros and not MICROS_PER_CENT <= micros <= MAX_BUDGET_MICROS:
        return f"Choose a limit from $0.01 to {format_money(MAX_BUDGET_MICROS)}, or none."
    return ""


def _check_command(command: str) -> str:
    if not command.strip():
        return "Say what to run, for example: python train.py"
    if "\0" in command:
        return "The command holds a NUL character. Remove it."
    size = len(command.encode("utf-8", "surrogatepass"))
    if size > MAX_COMMAND_BYTES:
        return f"The command has {size:,} bytes; at most {MAX_COMMAND_BYTES:,} are taken."
    if not _is_text(command):
        return "The command is not valid Unicode text."
    return ""


def _check_env(env: Mapping[str, str]) -> str:
    if len(env) > MAX_ENV_COUNT:
        return f"At most {MAX_ENV_COUNT} environment variables are taken."
    size = 0
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name) or len(name) > 200:
            return f"{name[:40]!r} is no name of a variable: use letters, digits and _."
        if name.startswith("FASTGPU_"):
            return f"{name[:60]} is set by FastGPU itself. Choose another name."
        if "\0" in value or not _is_text(value):
            return f"The value of {name[:60]} holds a character no process can be given."
        size += len(name) + len(value.encode())
    if size > MAX_ENV_BYTES:
        return f"The environment has {size:,} bytes; at most {MAX_ENV_BYTES:,} are taken."
    return ""


def _is_text(value: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def _check_gpus(pool: Pool | None, gpus: int, nodes: int) -> str:
    if gpus < 1:
        return "Ask for at least 1 GPU."
    if pool is None or nodes < 1:
        return ""
    sizes = sorted(_gpus_by_node(pool), reverse=True)
    most = min(pool.max_gpus_per_workload, sum(sizes))
    if gpus > most:
        return f"{pool.name} gives at most {most} GPUs to one job."
    if gpus % nodes:
        return f"{gpus} GPUs cannot be shared equally by {nodes} nodes."
    if nodes <= len(sizes) and gpus // nodes > sizes[nodes - 1]:
        return f"{pool.name} has at most {sizes[nodes - 1]} GPUs in one node: ask for more nodes."
    return ""


def _gpus_by_node(pool: Pool) -> list[int]:
    present = Gpu.objects.filter(node__pool=pool, is_present=True).order_by()
    return list(present.values("node").annotate(count=Count("pk")).values_list("count", flat=True))


def _check_nodes(pool: Pool | None, nodes: int) -> str:
    if nodes < 1:
        return "A job runs on at least 1 node."
    if pool is not None and nodes > pool.max_nodes_per_workload:
        return f"{pool.name} gives at most {pool.max_nodes_per_workload} nodes to one job."
    return ""


def _check_retries(retries: int) -> str:
    if not 0 <= retries <= MAX_RETRIES:
        return f"Retry between 0 and {MAX_RETRIES} times."
    return ""


def _check_environment(pool: Pool | None, environment: str) -> str:
    if pool is None or not environment or environment in pool.environments:
        return ""
    return f"There is no such environment. Choose one of: {', '.join(pool.environments)}."


def _check_time_limit(pool: Pool | None, seconds: int) -> str:
    if seconds < MIN_TIME_LIMIT_SECONDS:
        return f"The time limit is at least {MIN_TIME_LIMIT_SECONDS} seconds."
    if pool is not None and seconds > pool.max_time_limit_seconds:
        return f"The time limit in {pool.name} is at most {pool.max_time_limit_seconds:,} seconds."
    return ""
