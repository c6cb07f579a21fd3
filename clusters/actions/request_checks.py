"""What is right with each field of a launch: "" or a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from django.db.models import Count

from billing.actions.budgets import MAX_BUDGET_MICROS
from clusters.models import Gpu, Pool, Volume
from portal.lib import clock
from portal.lib.money import MICROS_PER_CENT, format_money

MAX_COMMAND_BYTES = 100_000
MAX_ENV_BYTES = 32_000
MAX_ENV_COUNT = 100
MAX_NAME = 100
MAX_PROJECT = 60
MIN_TIME_LIMIT_SECONDS = 10
MAX_RETRIES = 10
MIN_IDLE_MINUTES = 5
MAX_IDLE_MINUTES = 7 * 24 * 60
_NAME = re.compile(r"[\w][\w .,:+()#@/=-]*", re.UNICODE)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_name(name: str) -> str:
    """Letters, digits and a little punctuation."""
    if not name.strip():
        return "Give it a name."
    if len(name) > MAX_NAME:
        return f"A name has at most {MAX_NAME} characters; this one has {len(name)}."
    if not _NAME.fullmatch(name):
        return "Use letters, digits, spaces and . , : + ( ) # @ / = - _ only."
    return ""


def check_project(project: str) -> str:
    """One line of plain text, or nothing."""
    if len(project.strip()) > MAX_PROJECT:
        return f"A project has at most {MAX_PROJECT} characters; this one has {len(project)}."
    if not project.isprintable():
        return "A project is plain text on one line, without control characters."
    return ""


def check_max_cost(micros: int) -> str:
    """Micro-units; 0 is no limit."""
    if micros and not MICROS_PER_CENT <= micros <= MAX_BUDGET_MICROS:
        return f"Choose a limit from $0.01 to {format_money(MAX_BUDGET_MICROS)}, or none."
    return ""


def check_command(command: str) -> str:
    """What bash is to run."""
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


def check_env(env: Mapping[str, str]) -> str:
    """Variables of the process."""
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


def check_gpus(pool: Pool | None, gpus: int, nodes: int) -> str:
    """In all, shared equally by the nodes."""
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


def check_nodes(pool: Pool | None, nodes: int) -> str:
    """How many machines."""
    if nodes < 1:
        return "A job runs on at least 1 node."
    if pool is not None and nodes > pool.max_nodes_per_workload:
        return f"{pool.name} gives at most {pool.max_nodes_per_workload} nodes to one job."
    return ""


def check_retries(retries: int) -> str:
    """How often an error is tried again."""
    if not 0 <= retries <= MAX_RETRIES:
        return f"Retry between 0 and {MAX_RETRIES} times."
    return ""


def check_environment(pool: Pool | None, environment: str) -> str:
    """One of those the pool has now; "" is the first of them."""
    if pool is None or environment in pool.offered_environments:
        return ""
    if not pool.offered_environments or environment in pool.environments:
        what = f"{environment} is not" if environment else "No environment is"
        return f"{what} built yet for {pool.name}. Choose another, or ask support to build it."
    if not environment:
        return ""
    return f"There is no such environment. Choose one of: {', '.join(pool.offered_environments)}."


def check_time_limit(pool: Pool | None, seconds: int) -> str:
    """Seconds."""
    if seconds < MIN_TIME_LIMIT_SECONDS:
        return f"The time limit is at least {MIN_TIME_LIMIT_SECONDS} seconds."
    if pool is not None and seconds > pool.max_time_limit_seconds:
        return f"The time limit in {pool.name} is at most {pool.max_time_limit_seconds:,} seconds."
    return ""


def check_volume(pool: Pool | None, volume: Volume | None, asked: str) -> str:
    """`volume` is what was found for the id that was asked for, which may be none at all."""
    if not asked:
        return ""
    if volume is None:
        return "There is no such volume. Choose one of the team's, or none."
    if pool is not None and pool.backend != volume.backend:
        return f"{volume.name} lies in other storage than {pool.name} can reach."
    if volume.used_bytes > volume.size_bytes:
        return f"{volume.name} is full: delete something in it, or make it larger."
    return ""


def check_idle_minutes(minutes: int) -> str:
    """0: never."""
    if minutes and not MIN_IDLE_MINUTES <= minutes <= MAX_IDLE_MINUTES:
        return f"Choose {MIN_IDLE_MINUTES} to {MAX_IDLE_MINUTES:,} minutes, or never."
    return ""


def check_stop_at(at: datetime | None) -> str:
    """A time to come, or none."""
    if at is not None and at <= clock.now():
        return "Choose a time to come, or none."
    return ""
