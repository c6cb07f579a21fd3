"""What was half done when a worker or an engine went away is taken up at once by the others."""

from __future__ import annotations

import socket
import subprocess

import psutil

from accounts.actor import Actor
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.control.engines import record_failure, take_turn
from clusters.models import Attempt
from clusters.models import Engine as EngineRow
from clusters.tasks import drive_pool, sweep
from tests.conftest import Engine
from tests.fakes.loop import tick


def test_a_living_workers_sweep_frees_what_a_dead_one_held(engine: Engine) -> None:
    process = subprocess.Popen(["sleep", "60"])
    created = psutil.Process(process.pid).create_time()
    held = take_turn("local", owner=f"{socket.gethostname()}:{process.pid}:{created:.2f}")
    process.kill()
    process.wait()
    sweep()
    assert held is not None
    assert take_turn("local", owner="somebody else") is not None


def test_a_stop_asked_for_while_the_engine_was_away_is_sent_when_it_is_back(
    actor: Actor, engine: Engine
) -> None:
    job = launch(actor, JobRequest(name="long", pool="a100", gpus=1, command="sleep 60"))
    tick()
    EngineRow.objects.update(surveyed_at=None)
    turn = take_turn("local", owner="tests")
    assert turn is not None
    record_failure(turn, "it does not answer")
    cancel(actor, job.public_id)
    drive_pool(engine.pool.pk)
    assert engine.backend.stops == []
    tick()
    assert engine.backend.stops == [Attempt.objects.get().external_name]
