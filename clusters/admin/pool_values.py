"""A pool's settings as numbers people write: hours and GiB instead of seconds and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from clusters.actions.pool_checks import PoolSettings
from clusters.queries.engines import EngineChoice
from portal.lib.money import MICROS

_GIB, _MIB, _HOUR = 1024**3, 1024**2, 3600
# What one of the field is in the column's own unit.
_UNITS: dict[str, int] = {
    "max_time_limit_seconds": _HOUR,
    "memory_bytes_per_gpu": _GIB,
    "disk_bytes": _GIB,
    "log_bytes": _MIB,
}
_WHOLE = ("max_gpus_per_workload", "max_nodes_per_workload", "pids", "grace_seconds")
LIMITS = {*_UNITS, *_WHOLE, "cpu_cores_per_gpu"}


def limits_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of a valid form, in the units of the columns."""
    whole = {name: data[name] for name in _WHOLE}
    amounts = {name: int(data[name] * unit) for name, unit in _UNITS.items()}
    return whole | amounts | {"cpu_cores_per_gpu": float(data["cpu_cores_per_gpu"])}


def values_of(settings: PoolSettings | None, engines: list[EngineChoice]) -> dict[str, Any]:
    """What the fields hold at first: of the pool, else the defaults of a new one."""
    shown = settings or PoolSettings(
        name="",
        backend=engines[0].name if engines else "",
        gpu_model="",
        micros_per_hour=0,
        environments=("python-data", "system"),
    )
    values: dict[str, Any] = {name: getattr(shown, name) for name in _WHOLE}
    for name, unit in _UNITS.items():
        values[name] = _plain(Decimal(getattr(shown, name)) / unit)
    return values | {
        "name": shown.name,
        "backend": shown.backend,
        "gpu_model": shown.gpu_model,
        # Nothing is given away by saving a form: a price of zero is written anew each time.
        "price": _price(shown.micros_per_hour) if shown.micros_per_hour else None,
        "environments": ", ".join(shown.environments),
        "has_network": shown.has_network,
        "cpu_cores_per_gpu": _plain(Decimal(str(shown.cpu_cores_per_gpu)), 2),
    }


def _plain(number: Decimal, places: int = 3) -> Decimal:
    """Without the zeros at the end, and never as 1E+1."""
    return Decimal(f"{round(number, places).normalize():f}")


def _price(micros: int) -> Decimal:
    """Dollars, with two places at least."""
    dollars = _plain(Decimal(micros) / MICROS, 6)
    cents = dollars.quantize(Decimal("0.01"))
    return cents if cents == dollars else dollars
