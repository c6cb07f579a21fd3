"""Notebooks are looked at, counted down, kept and stopped by what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail

from accounts.actor import Actor
from clusters.actions.apps import note_ready
from clusters.actions.notebook_checks import NotebookRequest
from clusters.actions.notebooks import keep_notebook, launch_notebook, set_stops
from clusters.backends.base import EndReason
from clusters.choices import Reason, Verdict, WorkloadStatus
from clusters.models import App, Attempt, Gpu, GpuSample, IdleCheck, IdleStop, Notebook, Workload
from clusters.tasks import drive_pool, watch_notebooks
from portal.lib import clock
from tests.clusters.control.conftest import Time
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.server import FakeServer, fake_server
from tests.fakes.serving import ServingBackend


@pytest.fixture
def engine_class() -> type[FakeBackend]:
    return ServingBackend


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    with fake_server(tmp_path) as server:
        yield server


class Room:
    """A running notebook, its server and the time that passes in it."""

    def __init__(self, workload: Workload, server: FakeServer, time: Time) -> None:
        self.workload, self.server, self.time = workload, server, time
        self.gpu: float | None = 0.0
        self.cpu = 0.0

    def pass_minutes(self, minutes: int) -> None:
        """Each with a sample of the GPU, and CPU used as `cpu` percent of a core says."""
        for _ in range(minutes):
            self.time.now += timedelta(minutes=1)
            self.server.use = {
                "cpu_seconds": self.server.use["cpu_seconds"] + self.cpu * 0.6,
                "gpu_percent": None,
            }
            if self.gpu is not None:
                GpuSample.objects.create(
                    attempt=Attempt.objects.latest("pk"),
                    gpu=Gpu.objects.all()[0],
                    at=self.time.now - timedelta(seconds=5),
                    utilization_percent=self.gpu,
                )
            watch_notebooks()

    @property
    def notebook(self) -> Notebook:
        return Notebook.objects.get(pk=self.workload.pk)

    @property
    def verdict(self) -> str:
        return IdleCheck.objects.latest("pk").verdict

    @property
    def status(self) -> str:
        self.workload.refresh_from_db()
        return self.workload.status


@pytest.fixture
def room(actor: Actor, engine: Engine, time: Time, server: FakeServer, settings: Any) -> Room:
    """Idle for 30 minutes at most; it has been looked at once."""
    return _room(actor, engine, time, server, settings)


def _room(
    actor: Actor, engine: Engine, time: Time, server: FakeServer, settings: Any, **asked: Any
) -> Room:
    settings.PROXY_PORT = 1
    assert isinstance(engine.backend, ServingBackend)
    engine.backend.everywhere = server.endpoint
    request = replace(NotebookRequest(name="lab", pool="a100", idle_minutes=30), **asked)
    workload, _ = launch_notebook(actor, request)
    drive_pool(engine.pool.pk)
    note_ready(App.objects.get().pk)
    server.kernel("idle", time.now - timedelta(hours=1))
    room = Room(workload, server, time)
    room.pass_minutes(1)
    assert room.status == WorkloadStatus.RUNNING
    return room


def test_first_look_knows_no_cpu_yet_and_says_so(room: Room) -> None:
    assert room.verdict == Verdict.UNKNOWN


def test_nothing_done_is_idle_with_its_evidence(room: Room) -> None:
    room.pass_minutes(1)
    look = IdleCheck.objects.latest("pk")
    assert (look.verdict, look.kernels, look.kernels_busy) == (Verdict.IDLE, 1, 0)
    assert (look.gpu_percent, look.cpu_percent) == (0.0, 0.0)


@pytest.mark.parametrize(
    "work",
    [
        lambda room: room.server.kernel("busy", room.time.now),
        lambda room: setattr(room, "gpu", 40.0),
        lambda room: setattr(room, "cpu", 90.0),
        lambda room: room.server.kernel("idle", room.time.now + timedelta(seconds=30)),
        lambda room: setattr(
            room.server,
            "terminals",
            [{"name": "1", "last_activity": (room.time.now + timedelta(seconds=30)).isoformat()}],
        ),
    ],
    ids=["kernel", "gpu", "cpu", "kernel used", "terminal used"],
)
def test_any_work_is_busy(room: Room, work: Callable[[Room], None]) -> None:
    work(room)
    room.pass_minutes(1)
    assert room.verdict == Verdict.BUSY


@pytest.mark.parametrize(
    "fault",
    [
        lambda server: setattr(server, "status", 500),
        lambda server: setattr(server, "kernels", {"message": "no"}),
        lambda server: setattr(server, "use", {"cpu_seconds": "many"}),
        lambda server: server.close(),
    ],
    ids=["500", "no list", "no number", "gone"],
)
def test_server_that_does_not_tell_is_unknown_and_never_stopped(
    room: Room, fault: Callable[[FakeServer], None]
) -> None:
    room.pass_minutes(20)
    before = room.server.use
    fault(room.server)
    for _ in range(40):
        room.time.now += timedelta(minutes=1)
        watch_notebooks()
    assert room.verdict == Verdict.UNKNOWN
    assert room.status == WorkloadStatus.RUNNING
    assert before


def test_gpu_that_is_not_measured_is_unknown(room: Room) -> None:
    room.gpu = None
    room.pass_minutes(2)
    assert room.verdict == Verdict.UNKNOWN


def test_gpu_that_only_the_server_measures_is_believed(room: Room) -> None:
    room.gpu = None
    room.pass_minutes(1)
    room.time.now += timedelta(minutes=1)
    room.server.use = {"cpu_seconds": room.server.use["cpu_seconds"], "gpu_percent": 0.0}
    watch_notebooks()
    assert room.verdict == Verdict.IDLE


def test_countdown_is_shown_and_mailed_once(room: Room) -> None:
    room.pass_minutes(20)
    assert (room.notebook.stops_at, mail.outbox) == (None, [])
    room.pass_minutes(5)
    assert room.notebook.stops_for == Reason.IDLE
    (message,) = mail.outbox
    assert message.to == ["alice@example.org"]
    assert message.subject == f"lab stops at {room.notebook.stops_at:%H:%M} UTC"
    page = f"/notebooks/{room.workload.public_id}/countdown/"
    assert f"{page}?choose=keep" in message.body
    assert f"{page}?choose=stop" in message.body


def test_it_is_stopped_at_the_end_with_what_it_was_decided_by(room: Room, engine: Engine) -> None:
    room.pass_minutes(32)
    assert room.status == WorkloadStatus.STOPPING
    stop = IdleStop.objects.get()
    assert stop.at - stop.idle_since >= timedelta(minutes=30)
    assert [look["verdict"] for look in stop.evidence][-30:] == ["idle"] * 30
    drive_pool(engine.pool.pk)
    engine.backend.end(Attempt.objects.latest("pk").external_name, EndReason.STOPPED)
    tick()
    assert (room.status, room.workload.reason) == (WorkloadStatus.STOPPED, Reason.IDLE)


def test_kept_for_an_hour_it_goes_on(room: Room, actor: Actor) -> None:
    room.pass_minutes(25)
    keep_notebook(actor, room.workload.public_id)
    assert room.notebook.stops_at is None
    room.pass_minutes(75)
    assert (room.status, len(mail.outbox)) == (WorkloadStatus.RUNNING, 1)
    room.pass_minutes(18)
    assert (room.status, len(mail.outbox)) == (WorkloadStatus.STOPPING, 2)


def test_work_in_the_last_minute_ends_the_countdown(room: Room) -> None:
    room.pass_minutes(30)
    room.cpu = 100.0
    room.pass_minutes(1)
    room.cpu = 0.0
    room.pass_minutes(5)
    assert (room.status, room.notebook.stops_at) == (WorkloadStatus.RUNNING, None)


def test_portal_that_was_away_stops_nothing_for_the_time_it_did_not_see(room: Room) -> None:
    room.pass_minutes(5)
    room.time.now += timedelta(hours=3)
    room.pass_minutes(1)
    assert room.status == WorkloadStatus.RUNNING
    room.pass_minutes(15)
    assert room.notebook.stops_at is None


def test_shorter_limit_holds_at_once_and_is_announced(room: Room, actor: Actor) -> None:
    room.pass_minutes(15)
    set_stops(actor, room.workload.public_id, idle_minutes=10, stop_at=None)
    room.pass_minutes(1)
    assert room.notebook.stops_at == room.time.now + timedelta(minutes=10)


def test_never_is_never(
    actor: Actor, engine: Engine, time: Time, server: FakeServer, settings: Any
) -> None:
    room = _room(actor, engine, time, server, settings, idle_minutes=0)
    room.pass_minutes(45)
    assert (room.status, mail.outbox) == (WorkloadStatus.RUNNING, [])


def test_time_to_stop_is_announced_and_kept_to(
    actor: Actor, engine: Engine, time: Time, server: FakeServer, settings: Any
) -> None:
    stop_at = clock.now() + timedelta(minutes=30)
    room = _room(actor, engine, time, server, settings, stop_at=stop_at)
    room.cpu = 100.0
    room.pass_minutes(22)
    assert (room.notebook.stops_at, room.notebook.stops_for) == (stop_at, Reason.STOP_TIME)
    assert "told to stop then" in mail.outbox[0].body
    room.pass_minutes(10)
    assert (room.status, room.workload.stop_reason) == (WorkloadStatus.STOPPING, Reason.STOP_TIME)


def test_longest_life_is_announced(
    actor: Actor, engine: Engine, time: Time, server: FakeServer, settings: Any
) -> None:
    room = _room(actor, engine, time, server, settings, lifetime_seconds=1800)
    room.cpu = 100.0
    room.pass_minutes(22)
    assert room.notebook.stops_for == Reason.TIME_LIMIT
    assert "as long as it was launched for" in mail.outbox[0].body


def test_what_is_missing_in_its_engine_is_not_looked_at(room: Room) -> None:
    Attempt.objects.update(missing_since=clock.now())
    looks = IdleCheck.objects.count()
    room.pass_minutes(5)
    assert IdleCheck.objects.count() == looks
