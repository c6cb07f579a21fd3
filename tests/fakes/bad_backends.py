"""Engines that misbehave in one way each, on top of the one that does what the test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from clusters.backends.base import (
    BackendUnavailable,
    Handle,
    LaunchSpec,
    Observation,
    Phase,
    Survey,
)
from portal.lib import clock
from tests.fakes.backend import FakeBackend


class SlowBackend(FakeBackend):
    """Does what it is told and fails to say so in time."""

    def submit(self, spec: LaunchSpec) -> Observation:
        super().submit(spec)
        raise BackendUnavailable("no answer within 10 s")


class StuckBackend(FakeBackend):
    """Answers nothing at all."""

    def observe(self, handles: Iterable[Handle]) -> Survey:
        raise BackendUnavailable("no answer within 10 s")


class BrokenBackend(FakeBackend):
    """Has a defect of its own."""

    def observe(self, handles: Iterable[Handle]) -> Survey:
        raise ZeroDivisionError("a defect")


class LyingBackend(FakeBackend):
    """Says that things began years ago, ended tomorrow, and un-end."""

    def observe(self, handles: Iterable[Handle]) -> Survey:
        survey = super().observe(handles)
        year = timedelta(days=365)
        return replace(
            survey,
            seen={
                name: replace(
                    seen,
                    started_at=seen.started_at and seen.started_at - year,
                    ended_at=seen.ended_at and seen.ended_at + year,
                )
                for name, seen in survey.seen.items()
            },
        )

    def submit(self, spec: LaunchSpec) -> Observation:
        seen = super().submit(spec)
        return replace(seen, started_at=clock.now() - timedelta(days=365))


class DuplicatingBackend(FakeBackend):
    """Shows everything twice: under its name and under one nobody gave."""

    def observe(self, handles: Iterable[Handle]) -> Survey:
        survey = super().observe(handles)
        return replace(survey, strays=tuple(f"{name}.again" for name in survey.seen))


class ForgettingBackend(FakeBackend):
    """Answers with half of what it knows: every other look, everything is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def observe(self, handles: Iterable[Handle]) -> Survey:
        survey = super().observe(handles)
        self.looks += 1
        return replace(survey, seen={}) if self.looks % 2 else survey


class StaleBackend(FakeBackend):
    """Repeats the first answer it ever gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Survey | None = None

    def observe(self, handles: Iterable[Handle]) -> Survey:
        self.first = self.first or super().observe(handles)
        return self.first


class QueueingBackend(FakeBackend):
    """Schedules by itself: what is submitted waits until the test starts it."""

    queues = True

    def submit(self, spec: LaunchSpec) -> Observation:
        running = super().submit(spec)
        if spec.external_name not in self.started:
            self.seen[spec.external_name] = replace(
                running, phase=Phase.PENDING, started_at=None, engine_id="4711"
            )
        return self.seen[spec.external_name]

    def __init__(self) -> None:
        super().__init__()
        self.started: set[str] = set()

    def start(self, external_name: str, *, node: str = "fake-1") -> None:
        """Let what waits begin."""
        self.started.add(external_name)
        self.seen[external_name] = replace(
            self.seen[external_name],
            phase=Phase.RUNNING,
            started_at=clock.now(),
            node=node,
            wait=None,
        )
