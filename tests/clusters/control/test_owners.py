"""Leases of processes that died are freed by the next worker of their machine."""

from __future__ import annotations

import socket
import subprocess
from datetime import timedelta

import psutil
import pytest

from clusters.control import owners
from clusters.control.engines import record_answer, take_turn
from clusters.control.observe import observe_engine
from clusters.models import Engine as EngineRow
from portal.lib import clock

pytestmark = pytest.mark.usefixtures("engine")


def held_by(owner: str) -> None:
    assert take_turn("local", owner=owner) is not None


def test_a_dead_one_is_not_waited_for() -> None:
    process = subprocess.Popen(["sleep", "60"])
    owner = f"{socket.gethostname()}:{process.pid}:{psutil.Process(process.pid).create_time():.2f}"
    held_by(owner)
    process.kill()
    process.wait()
    assert owners.release_leases_of_the_dead() == 1
    assert observe_engine("local", owner=owners.me())


def test_a_recycled_pid_is_another_process() -> None:
    host, pid, created = owners.me().rsplit(":", 2)
    held_by(f"{host}:{pid}:{float(created) - 100:.2f}")
    assert owners.release_leases_of_the_dead() == 1


def test_the_living_keep_theirs() -> None:
    held_by(owners.me())
    assert owners.release_leases_of_the_dead() == 0


def test_a_turn_that_goes_on_keeps_its_lease() -> None:
    with owners.turn() as owner:
        held_by(owner)
        assert owners.release_leases_of_the_dead() == 0


def test_what_a_turn_could_not_give_back_is_free_after_it() -> None:
    with owners.turn() as owner:
        held_by(owner)
    assert owners.release_leases_of_the_dead() == 1
    with owners.turn() as owner:
        assert observe_engine("local", owner=owner)


def test_other_machines_keep_theirs() -> None:
    held_by("elsewhere:1:0.00")
    assert owners.release_leases_of_the_dead() == 0


def test_an_expired_lease_is_free_for_all() -> None:
    held_by("elsewhere:1:0.00")
    later = clock.now() + timedelta(minutes=1)
    with clock.use(lambda: later):
        assert observe_engine("local", owner=owners.me())


def test_a_late_answer_of_who_lost_its_turn_is_dropped() -> None:
    late = take_turn("local", owner="slow")
    assert late is not None
    later = clock.now() + timedelta(minutes=1)
    with clock.use(lambda: later):
        assert take_turn("local", owner="quick") is not None
    assert not record_answer(late, taken_at=clock.now(), took=timedelta(0))
    assert EngineRow.objects.get().surveyed_at is None
