"""Who drives: the name under which a worker leases rows, and what it leaves when it dies."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psutil
from django.core.cache import cache as shared

from clusters.models import Attempt, Engine
from portal.lib import clock

HEARTBEAT = "heartbeat:worker"
HEARTBEAT_SECONDS = 10
# The turns this process has begun and not ended.
_turns: set[str] = set()
_numbers = itertools.count(1)


@cache
def _name(pid: int) -> str:
    # A pid alone may be another process by now.
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def me() -> str:
    """This process, as leases name it: `host:pid:create time`."""
    return _name(os.getpid())


@contextmanager
def turn() -> Iterator[str]:
    """A name to lease rows under for one piece of work; what it still holds at its end is freed.

    Not at once, for it may end because the database is away: the next sweep of this process does.
    """
    name = f"{me()}#{next(_numbers)}"
    _turns.add(name)
    try:
        yield name
    finally:
        _turns.discard(name)


def beat() -> None:
    """Tell /readyz and loop_status that this worker lives."""
    shared.set(HEARTBEAT, 1, HEARTBEAT_SECONDS)
    workers: dict[str, float] = shared.get(f"{HEARTBEAT}s") or {}
    now = clock.now().timestamp()
    alive = {name: at for name, at in workers.items() if now - at < HEARTBEAT_SECONDS}
    shared.set(f"{HEARTBEAT}s", alive | {me(): now}, HEARTBEAT_SECONDS)


def workers() -> dict[str, float]:
    """Workers that swept within the last 10 s: name -> epoch second."""
    found: dict[str, float] = shared.get(f"{HEARTBEAT}s") or {}
    return found


def release_leases_of_the_dead() -> int:
    """Free what processes of this machine held when they died, and what turns of this one left,
    so that nobody waits for expiry."""
    freed = 0
    for model in (Attempt, Engine):
        held = model._default_manager.filter(
            lease_expires_at__gt=clock.now(), lease_owner__startswith=f"{socket.gethostname()}:"
        )
        owners = set(held.values_list("lease_owner", flat=True))
        dead = [owner for owner in owners if not _lives(owner)]
        freed += held.filter(lease_owner__in=dead).update(lease_expires_at=clock.now())
    return freed


def _lives(owner: str) -> bool:
    process, _, number = owner.partition("#")
    if process == me():
        return not number or owner in _turns
    try:
        _, pid, created = process.rsplit(":", 2)
        return f"{psutil.Process(int(pid)).create_time():.2f}" == created
    except (ValueError, psutil.NoSuchProcess):
        return False
