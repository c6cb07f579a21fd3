"""Keeps servers of notebooks started ahead, on engines that can, as the settings say.

The launch of a notebook that fits takes one (see Standby); the next look makes good for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from django.conf import settings

from clusters.actions.notebooks import COMMAND
from clusters.backends.base import BackendUnavailable, Limits
from clusters.backends.capabilities import Standby, StandbyState, StandbyWish
from clusters.backends.registry import backend
from clusters.models import Pool

logger = logging.getLogger(__name__)
MIB = 1 << 20
# Until it is somebody's: a server that has answered its first page, and nothing else.
LIMITS = Limits(memory_bytes=256 * MIB, pids=64, cpu_cores=1.0, disk_bytes=64 * MIB, log_bytes=MIB)


def counts(words: Sequence[str]) -> dict[str, int]:
    """How many of each environment, of words such as `pytorch=2`. Raises ValueError."""
    found = {}
    for word in words:
        environment, _, count = word.partition("=")
        if not environment or not count.isdecimal():
            raise ValueError(f"{word!r} is not an environment, = and a number.")
        found[environment] = int(count)
    return found


def wishes(name: str) -> list[StandbyWish]:
    """What shall stand by on the engine `name`: for each open pool what it offers, within bounds.

    What is named first in the settings comes first where not all of it has room.
    """
    pools = Pool.objects.filter(backend=name, is_open=True, has_network=False)
    offers = [environment for pool in pools for environment in pool.environments]
    room = settings.STANDBY_MEMORY_BYTES // LIMITS.memory_bytes
    made = []
    for environment, each in _in_settings().items():
        count = min(each * offers.count(environment), room)
        room -= count
        if count:
            made.append(StandbyWish(environment, COMMAND, count, LIMITS))
    return made


def keep_standbys(name: str) -> Sequence[StandbyState]:
    """Ask the engine `name` to keep what it shall. Safe to repeat, and for two at once."""
    engine = backend(name)
    if not isinstance(engine, Standby):
        return []
    try:
        return engine.keep_standbys(wishes(name))
    except BackendUnavailable as error:
        logger.warning("What stands by on %s is left as it is: %s", name, error)
        return []


def engines() -> list[str]:
    """Those that can; also ones without a pool, whose servers nobody wants any more."""
    return [name for name in settings.BACKENDS if isinstance(backend(name), Standby)]


def _in_settings() -> Mapping[str, int]:
    return counts(settings.STANDBY)
