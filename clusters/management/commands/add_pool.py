"""`manage.py add_pool`: adds a pool as the console does, for scripts.

manage.py add_pool --slug a100 --name "A100 80 GB" --backend slurm --gpu-model "NVIDIA A100" \
    --price 2.10 --option partition=gpu --environment python-data
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from clusters.actions.pool_checks import PoolSettings
from clusters.actions.pool_settings import add_pool
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS

_GIB, _MIB, _HOUR = 1024**3, 1024**2, 3600
_MOST = 10**12
# Flag -> column of the pool, unit of the flag in the column's own, help.
_LIMITS: dict[str, tuple[str, int, str]] = {
    "--max-gpus": ("max_gpus_per_workload", 1, "of one job"),
    "--max-nodes": ("max_nodes_per_workload", 1, "of one job"),
    "--max-hours": ("max_time_limit_seconds", _HOUR, "time limit of one job, at most"),
    "--grace-seconds": ("grace_seconds", 1, "between SIGTERM and SIGKILL"),
    "--memory-gib-per-gpu": ("memory_bytes_per_gpu", _GIB, "memory"),
    "--disk-gib": ("disk_bytes", _GIB, "disk of one job"),
    "--pids": ("pids", 1, "processes of one job"),
    "--log-mib": ("log_bytes", _MIB, "log of one job"),
}


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ArgumentTypeError(f"{text!r} is no number") from error
    if not number.is_finite() or not -_MOST < number < _MOST:
        raise ArgumentTypeError(f"{text!r} is no number")
    return number


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r} has no =: write NAME=VALUE")
    return name, value


class Command(BaseCommand):
    """Adds a pool."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What the console's form asks for; the defaults are the same."""
        parser.add_argument("--slug", required=True, help="short name, such as a100")
        parser.add_argument("--name", required=True, help="what people choose")
        parser.add_argument("--backend", required=True, help="an engine of settings.BACKENDS")
        parser.add_argument("--gpu-model", required=True)
        parser.add_argument("--price", required=True, type=_number, help="dollars per GPU and hour")
        parser.add_argument(
            "--option", action="append", default=[], type=_option, metavar="NAME=VALUE",
            help="an option of the engine; may be given again",
        )  # fmt: skip
        parser.add_argument(
            "--environment", action="append", metavar="NAME", help="may be given again"
        )
        parser.add_argument("--network", action="store_true", help="jobs reach the network")
        parser.add_argument("--closed", action="store_true", help="keep it closed at first")
        for flag, (column, _unit, text) in _LIMITS.items():
            parser.add_argument(flag, dest=column, type=_number, help=text)
        parser.add_argument("--cores-per-gpu", dest="cpu_cores_per_gpu", type=_number)

    def handle(self, *_args: Any, **given: Any) -> None:
        """Add it and say what its engine has. Raises CommandError naming what is wrong."""
        limits: dict[str, Any] = {
            column: int(given[column] * unit)
            for column, unit, _text in _LIMITS.values()
            if given[column] is not None
        }
        if given["cpu_cores_per_gpu"] is not None:
            limits["cpu_cores_per_gpu"] = float(given["cpu_cores_per_gpu"])
        wanted = PoolSettings(
            name=given["name"],
            backend=given["backend"],
            gpu_model=given["gpu_model"],
            micros_per_hour=int(given["price"] * MICROS),
            environments=tuple(given["environment"] or ("python-data", "system")),
            options=dict(given["option"]),
            has_network=given["network"],
            **limits,
        )
        actor = Actor.system("manage.py add_pool")
        try:
            saved = add_pool(actor, given["slug"], wanted, is_open=not given["closed"])
        except InvalidInput as error:
            problems = error.fields or {"pool": error.message}
            said = "\n".join(f"{name}: {problem}" for name, problem in problems.items())
            raise CommandError(said) from error
        state = "open" if saved.pool.is_open else "closed"
        self.stdout.write(f"{saved.pool.slug} is saved and {state}. {saved.words}")
