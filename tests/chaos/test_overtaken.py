"""A look that others overtake: what it saw live may have been submitted and ended since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from accounts.actor import Actor
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason, Handle, Survey
from clusters.choices import WorkloadStatus
from clusters.control.apply import apply_observation
from clusters.models import Attempt, Pool
from clusters.tasks import drive_pool
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick


class OvertakenBackend(FakeBackend):
    """While it looks another worker submits what waits, and learns that it ended."""

    def observe(self, handles: Iterable[Handle]) -> Survey:
        survey = super().observe(handles)
        if self.seen:
            return survey
        drive_pool(Pool.objects.get().pk)
        live = tuple(self.seen)
        for name in live:
            self.end(name, EndReason.COMPLETED)
            apply_observation(Attempt.objects.get(external_name=name), self.seen[name])
        return replace(survey, strays=live)


@pytest.mark.parametrize("engine_class", [OvertakenBackend])
def test_what_ended_while_somebody_looked_is_not_stopped(actor: Actor, engine: Engine) -> None:
    job = launch(actor, JobRequest(name="short", pool="a100", gpus=1, command="true"))
    tick()
    job.refresh_from_db()
    assert job.status == WorkloadStatus.SUCCEEDED
    assert engine.backend.stops == []
