"""How long a job waits at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from accounts.actor import Actor
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.queries.pools import longest_wait, room_of
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine

REQUEST = JobRequest(name="digits", pool="a100", gpus=2, command="true", time_limit_seconds=600)


@pytest.fixture(autouse=True)
def no_time_passes() -> Iterator[None]:
    """So that waits are exact."""
    now = clock.now()
    with clock.use(lambda: now):
        yield


@pytest.fixture
def full(actor: Actor, engine: Engine) -> None:
    """Two jobs of two GPUs each: one for ten minutes, one for an hour."""
    launch(actor, REQUEST)
    launch(actor, replace(REQUEST, time_limit_seconds=3600))
    drive_pool(engine.pool.pk)


def test_what_fits_does_not_wait(engine: Engine) -> None:
    assert longest_wait(engine.pool, gpus=4) == timedelta(0)


def test_what_can_never_fit_has_no_wait(engine: Engine) -> None:
    assert longest_wait(engine.pool, gpus=5) is None


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(("gpus", "seconds"), [(1, 610), (2, 610), (3, 3610)])
def test_it_waits_for_the_time_limits_of_others(engine: Engine, gpus: int, seconds: int) -> None:
    wait = longest_wait(engine.pool, gpus=gpus)
    assert wait == timedelta(seconds=seconds)


@pytest.mark.usefixtures("full")
def test_who_is_ahead_is_waited_for_too(actor: Actor, engine: Engine) -> None:
    ahead = launch(actor, replace(REQUEST, gpus=2, time_limit_seconds=60))
    wait, own = longest_wait(engine.pool, gpus=2), longest_wait(engine.pool, gpus=2, before=ahead)
    assert wait is not None
    assert own is not None
    assert wait - own == timedelta(seconds=60)


@pytest.mark.usefixtures("full")
def test_the_room_counts_who_waits(actor: Actor, engine: Engine) -> None:
    waiting = launch(actor, REQUEST)
    room = room_of(engine.pool)
    assert (room.total, room.free, room.waiting) == (4, 0, 1)
    cancel(actor, waiting.public_id)
    assert room_of(engine.pool).waiting == 0
