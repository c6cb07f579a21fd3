"""Samples go to the attempt that holds the GPU, and to no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, cast

import pytest
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.core.cache import cache
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.set_status import group_of
from clusters.backends.base import EndReason
from clusters.models import Attempt, Gpu, GpuSample
from clusters.tasks import drive_pool
from clusters.telemetry.ingest import Reading, take
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


def run(actor: Actor, engine: Engine, *, gpus: int = 1) -> Attempt:
    """The running attempt of a new job."""
    job = launch(actor, replace(REQUEST, gpus=gpus))
    drive_pool(engine.pool.pk)
    return Attempt.objects.select_related("workload").get(workload=job)


def reading_of(
    attempt: Attempt, *, index: int = 0, names: tuple[str, ...] | None = None
) -> Reading:
    return Reading(
        uuid=f"GPU-fake-{index}",
        external_names=(attempt.external_name,) if names is None else names,
        utilization_percent=42.5,
        memory_used_bytes=1 << 30,
        power_watts=None,
        temperature_celsius=None,
    )


def this_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def test_a_sample_is_stored_as_it_was_measured(actor: Actor, engine: Engine) -> None:
    attempt, at = run(actor, engine), this_second()
    assert take(at, [reading_of(attempt)]) == 1
    sample = GpuSample.objects.get()
    assert (sample.attempt, sample.gpu.uuid, sample.at) == (attempt, "GPU-fake-0", at)
    assert (sample.utilization_percent, sample.memory_used_bytes) == (42.5, 1 << 30)
    assert (sample.power_watts, sample.temperature_celsius) == (None, None)


def test_the_same_beat_twice_is_stored_once(actor: Actor, engine: Engine) -> None:
    attempt, at = run(actor, engine), this_second()
    take(at, [reading_of(attempt)])
    take(at, [replace(reading_of(attempt), utilization_percent=1.0)])
    assert GpuSample.objects.get().utilization_percent == 42.5


def test_an_attempt_that_gave_its_gpu_back_is_refused(actor: Actor, engine: Engine) -> None:
    older = run(actor, engine)
    engine.backend.end(older.external_name, EndReason.COMPLETED)
    tick()
    assert take(this_second(), [reading_of(older)]) == 0
    newer = run(actor, engine)
    assert take(this_second(), [reading_of(older)]) == 0
    assert take(this_second(), [reading_of(newer)]) == 1
    assert GpuSample.objects.get().attempt == newer


def test_a_gpu_held_by_nobody_or_known_to_nobody_is_left_out(actor: Actor, engine: Engine) -> None:
    attempt = run(actor, engine)
    readings = [reading_of(attempt, index=3), reading_of(attempt, index=99), reading_of(attempt)]
    assert take(this_second(), readings) == 1


def test_a_virtual_gpu_measured_without_its_attempt_is_left_out(
    actor: Actor, engine: Engine
) -> None:
    assert take(this_second(), [reading_of(run(actor, engine), names=())]) == 0


def test_a_real_gpu_belongs_to_who_holds_it(actor: Actor, engine: Engine) -> None:
    Gpu.objects.update(is_virtual=False)
    attempt = run(actor, engine)
    soon = clock.now() + timedelta(seconds=1)
    assert take(soon, [reading_of(attempt, names=())]) == 1


@pytest.mark.parametrize("names", [(), ("fg-other-1",)])
def test_what_a_real_gpu_did_before_belongs_to_nobody_now(
    actor: Actor, engine: Engine, names: tuple[str, ...]
) -> None:
    Gpu.objects.update(is_virtual=False)
    attempt = run(actor, engine)
    before = clock.now() - timedelta(minutes=1)
    assert take(before, [reading_of(attempt, names=names)]) == 0


@pytest.mark.parametrize("gpus", [1, 4])
def test_the_number_of_queries_is_fixed(
    actor: Actor,
    engine: Engine,
    django_assert_num_queries: Callable[[int], CaptureQueriesContext],
    gpus: int,
) -> None:
    attempt = run(actor, engine, gpus=gpus)
    readings = [reading_of(attempt, index=index) for index in range(gpus)]
    with django_assert_num_queries(2):
        assert take(this_second(), readings) == gpus


def test_a_beat_without_gpus_is_a_sign_of_life(db: None) -> None:
    assert take(this_second(), []) == 0
    assert cache.get("heartbeat:agent") == 1


class Watcher(Thread):
    """A page's socket, in a thread of its own: joins a group and takes one event."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group
        self.has_joined = Event()
        self.event: dict[str, Any] = {}

    def run(self) -> None:
        asyncio.run(self.watch())

    async def watch(self) -> None:
        layer = cast("RedisPubSubChannelLayer", get_channel_layer())
        channel = await layer.new_channel()
        await layer.group_add(self.group, channel)
        self.has_joined.set()
        async with asyncio.timeout(30):
            self.event = (await layer.receive(channel))["event"]
        await layer.flush()


def test_who_watches_gets_one_event_a_beat(actor: Actor, engine: Engine) -> None:
    attempt, at = run(actor, engine, gpus=2), this_second()
    watcher = Watcher(group_of(attempt.workload.pk))
    watcher.start()
    assert watcher.has_joined.wait(30)
    take(at, [reading_of(attempt, index=index) for index in (1, 0)])
    watcher.join()
    assert (watcher.event["v"], watcher.event["kind"]) == (1, "gpu")
    data = watcher.event["data"]
    assert (data["at"], data["attempt"]) == (at.isoformat(), 1)
    assert [gpu["index"] for gpu in data["gpus"]] == [0, 1]
    assert data["gpus"][0] == {
        "uuid": "GPU-fake-0",
        "index": 0,
        "utilization_percent": 42.5,
        "memory_used_bytes": 1 << 30,
        "memory_bytes": 40 << 30,
        "power_watts": None,
        "temperature_celsius": None,
    }
