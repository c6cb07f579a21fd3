"""Decides whether a pool may be as an operator describes it; writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from billing.actions.prices import MAX_MICROS_PER_HOUR
from billing.models import Sku
from clusters.backends.base import PoolOption
from clusters.backends.capabilities import MultiNode
from clusters.models import Pool
from clusters.queries.engines import engine_named
from portal.lib.errors import Unavailable
from portal.lib.money import MICROS

MAX_NAME = 80
MAX_OPTION = 200
MAX_ENVIRONMENTS = 50
OPTION_FIELD = "options."
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Column -> least, most, the same in words. More than any engine has, and what the columns hold.
_RANGES: dict[str, tuple[int, int, str]] = {
    "max_gpus_per_workload": (1, 100_000, "1 and 100,000"),
    "max_nodes_per_workload": (1, 10_000, "1 and 10,000"),
    "max_time_limit_seconds": (60, 366 * 24 * 3600, "1 minute and 366 days"),
    "memory_bytes_per_gpu": (16 * 1024**2, 64 * 1024**4, "16 MiB and 64 TiB"),
    "pids": (8, 4_194_304, "8 and 4,194,304"),  # the kernel's own ceiling on a 64 bit machine
    "disk_bytes": (1024**2, 1024**5, "1 MiB and 1 PiB"),
    "log_bytes": (64 * 1024, 1024**4, "64 KiB and 1 TiB"),
    "grace_seconds": (0, 3600, "0 seconds and 1 hour"),
}
_MAX_CORES = 1024.0


def _default(column: str) -> Any:
    columns: Any = Pool._meta
    return columns.get_field(column).default


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What operators decide of a pool.

    The price is in micro-units per GPU and hour, sizes in bytes, times in seconds. `options` are
    those its engine asks for (`Backend.pool_options`).
    """

    name: str
    backend: str
    gpu_model: str
    micros_per_hour: int
    environments: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    has_network: bool = _default("has_network")
    max_gpus_per_workload: int = _default("max_gpus_per_workload")
    max_nodes_per_workload: int = _default("max_nodes_per_workload")
    max_time_limit_seconds: int = _default("max_time_limit_seconds")
    memory_bytes_per_gpu: int = _default("memory_bytes_per_gpu")
    cpu_cores_per_gpu: float = _default("cpu_cores_per_gpu")
    pids: int = _default("pids")
    disk_bytes: int = _default("disk_bytes")
    log_bytes: int = _default("log_bytes")
    grace_seconds: int = _default("grace_seconds")

    def columns(self) -> dict[str, Any]:
        """As the pool's row holds them."""
        columns = asdict(self)
        del columns["micros_per_hour"]
        given = {name: value.strip() for name, value in self.options.items()}
        asked = engine_named(self.backend).pool_options
        options = {option.name: given.get(option.name) or option.default for option in asked}
        return columns | {
            "name": self.name.strip(),
            "gpu_model": self.gpu_model.strip(),
            "options": {name: value for name, value in options.items() if value},
            "environments": list(self.environments),
        }


def problems_of_slug(slug: str) -> dict[str, str]:
    """What is wrong with the short name of a new pool, as `{"slug": sentence}`."""
    if not _SLUG.fullmatch(slug):
        return {"slug": "Use at most 40 lower-case letters, digits and hyphens, such as a100."}
    if Pool.objects.filter(slug=slug).exists():
        return {"slug": f"There is a pool {slug} already."}
    if Sku.objects.filter(code=slug).exists():
        return {"slug": f"Something is sold as {slug} already."}
    return {}


def problems_of(settings: PoolSettings) -> dict[str, str]:
    """Field -> what is wrong with it; those of the engine's options are `options.<name>`."""
    found = {
        "name": _of_text(settings.name),
        "gpu_model": _of_text(settings.gpu_model),
        "price": _of_price(settings.micros_per_hour),
        "environments": _of_environments(settings.environments),
        "cpu_cores_per_gpu": _of_cores(settings.cpu_cores_per_gpu),
    }
    for name, (least, most, words) in _RANGES.items():
        if not least <= getattr(settings, name) <= most:
            found[name] = f"Between {words} is taken."
    found |= _of_engine(settings)
    return {name: problem for name, problem in found.items() if problem}


def _of_engine(settings: PoolSettings) -> dict[str, str]:
    try:
        engine = engine_named(settings.backend)
    except Unavailable as error:
        return {"backend": error.message}
    found = {}
    if settings.max_nodes_per_workload > settings.max_gpus_per_workload > 0:
        found["max_nodes_per_workload"] = "Each node of a job has one GPU at least."
    if settings.max_nodes_per_workload > 1 and not isinstance(engine, MultiNode):
        found["max_nodes_per_workload"] = "This engine runs each job on one node."
    known = {option.name: option for option in engine.pool_options}
    for name in settings.options.keys() - known.keys():
        found[f"{OPTION_FIELD}{name}"] = f"The engine knows no option {name[:40]!r}."
    for name, option in known.items():
        found[f"{OPTION_FIELD}{name}"] = problem_of_option(option, settings.options.get(name, ""))
    return found


def problem_of_option(option: PoolOption, value: str) -> str:
    """What is wrong with this value of an engine's option, "" if nothing."""
    value = value.strip()
    if not value and option.is_required and not option.default:
        return f"{option.label} is needed."
    if len(value) > MAX_OPTION:
        return f"At most {MAX_OPTION} characters are taken."
    if value and not re.fullmatch(option.pattern, value):
        return f"{value[:40]!r} cannot be used. {option.help}".strip()
    return ""


def _of_text(value: str) -> str:
    if not value.strip():
        return "This is needed."
    if len(value) > MAX_NAME or not value.isprintable():
        return f"Use one line of at most {MAX_NAME} characters."
    return ""


def _of_price(micros_per_hour: int) -> str:
    if 0 <= micros_per_hour <= MAX_MICROS_PER_HOUR:
        return ""
    return f"A price is between $0 and ${MAX_MICROS_PER_HOUR // MICROS:,} an hour."


def _of_cores(cores: float) -> str:
    return "" if 0.1 <= cores <= _MAX_CORES else f"Between 0.1 and {_MAX_CORES:g} is taken."


def _of_environments(names: tuple[str, ...]) -> str:
    if not names:
        return "Name one environment at least, such as system."
    if len(names) > MAX_ENVIRONMENTS:
        return f"At most {MAX_ENVIRONMENTS} environments are taken."
    for name in names:
        if not _ENVIRONMENT.fullmatch(name):
            return f"{name[:40]!r} is no name of an environment: use letters, digits, _ and -."
    return f"{names[0]} is named twice." if len(set(names)) < len(names) else ""
