"""A clock that is moved with the control loop and the sweeps, and jobs that run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.actor import Actor
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.choices import WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool, enforce_funds
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

REQUEST = JobRequest(
    name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=90 * 3600
)


class Time:
    """A clock that is moved; the control loop and the sweeps run after each move."""

    def __init__(self) -> None:
        self.now = clock.now()

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)
        tick()
        enforce_funds()
        for pool in Attempt.objects.values_list("pool", flat=True).distinct():
            drive_pool(pool)


@pytest.fixture
def time() -> Iterator[Time]:
    time = Time()
    with clock.use(lambda: time.now):
        yield time


@pytest.fixture
def run(actor: Actor, engine: Engine, time: Time) -> Any:
    """Launch a job and let it run."""

    def begin(who: Actor = actor, **asked: Any) -> Workload:
        job = launch(who, replace(REQUEST, **asked))
        drive_pool(engine.pool.pk)
        job.refresh_from_db()
        assert job.status == WorkloadStatus.RUNNING
        return job

    return begin


def subjects() -> list[str]:
    """Of the mail that went out, in its order."""
    return [str(message.subject) for message in mail.outbox]
