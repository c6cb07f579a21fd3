"""Servers of notebooks that are started ahead, and launches that take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any, cast

import pytest
from celery.signals import before_task_publish
from django.core.checks import run_checks

from accounts.actor import Actor
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebooks import COMMAND
from clusters.backends.base import LaunchSpec
from clusters.backends.capabilities import StandbyWish
from clusters.control.standbys import LIMITS
from clusters.models import Attempt
from clusters.tasks import keep_standbys, keep_standbys_of
from tests.conftest import Engine
from tests.contracts.backend import make_spec
from tests.contracts.standby import StandbyContract, StandbyEngine
from tests.fakes import notebooks
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.standby import StandbyBackend


@pytest.fixture
def engine_class() -> type[FakeBackend]:
    return StandbyBackend


@pytest.fixture
def fake(engine: Engine, settings: Any) -> StandbyBackend:
    """An engine of which the settings want two servers, and have room for four."""
    settings.STANDBY = ["python-data=2"]
    settings.STANDBY_MEMORY_BYTES = 4 * LIMITS.memory_bytes
    return cast(StandbyBackend, engine.backend)


@pytest.fixture
def hints() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """What workers are asked to do, as it is sent."""
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def note(sender: str, body: tuple[Any, ...], **_kwargs: Any) -> None:
        sent.append((sender, tuple(body[0])))

    before_task_publish.connect(note, weak=False)
    yield sent
    before_task_publish.disconnect(note)


def wished(fake: StandbyBackend) -> dict[str, int]:
    """What the engine was asked to keep last."""
    keep_standbys_of("local")
    return {wish.environment: wish.count for wish in fake.wishes}


class TestFake(StandbyContract):
    """The fake keeps the contract, too."""

    @pytest.fixture
    def engine(self) -> StandbyEngine:
        """Of its own."""
        return cast(StandbyEngine, StandbyBackend())

    @pytest.fixture
    def wish(self) -> StandbyWish:
        """One."""
        return StandbyWish("lab", COMMAND, 1, LIMITS)

    @pytest.fixture
    def spec(self) -> Callable[[], LaunchSpec]:
        """A notebook."""
        numbers = count()

        def make() -> LaunchSpec:
            made = make_spec(COMMAND, name=f"fg-{next(numbers)}", environment="lab")
            return replace(made, serves=True)

        return make

    @pytest.fixture
    def claimed(self, engine: StandbyBackend) -> Callable[[LaunchSpec], bool]:
        """What it remembers."""
        return lambda spec: spec.external_name in engine.claimed

    @pytest.fixture
    def rebuild(self, engine: StandbyBackend) -> Callable[[], None]:
        """Another build."""

        def build() -> None:
            engine.builds["lab"] = engine.builds.get("lab", 0) + 1

        return build


class TestLaunch:
    """A notebook's launch."""

    def test_it_takes_what_stands_by(self, actor: Actor, fake: StandbyBackend) -> None:
        keep_standbys_of("local")
        notebook = notebooks.starting(actor)
        attempt = Attempt.objects.get(workload=notebook)
        assert fake.claimed == [attempt.external_name]
        assert notebook.status == "running"

    def test_it_is_made_good_for(self, actor: Actor, fake: StandbyBackend) -> None:
        keep_standbys_of("local")
        notebooks.starting(actor)
        keep_standbys_of("local")
        assert fake.started == {"python-data": 3}

    def test_a_job_takes_none(self, actor: Actor, fake: StandbyBackend) -> None:
        keep_standbys_of("local")
        launch(actor, JobRequest("digits", "a100", 1, COMMAND, 600, environment="python-data"))
        tick()
        assert fake.claimed == []


class TestKept:
    """How many the engine is asked to keep."""

    def test_as_many_as_the_settings_say(self, fake: StandbyBackend) -> None:
        assert wished(fake) == {"python-data": 2}
        assert {(wish.command, wish.limits) for wish in fake.wishes} == {(COMMAND, LIMITS)}

    def test_no_more_than_memory_is_given_for_it(self, fake: StandbyBackend, settings: Any) -> None:
        settings.STANDBY = ["python-data=3", "system=3"]
        assert wished(fake) == {"python-data": 3, "system": 1}

    def test_none_where_there_is_no_memory_for_one(
        self, fake: StandbyBackend, settings: Any
    ) -> None:
        settings.STANDBY_MEMORY_BYTES = LIMITS.memory_bytes - 1
        assert wished(fake) == {}

    def test_none_of_what_no_pool_offers(self, fake: StandbyBackend, settings: Any) -> None:
        settings.STANDBY = ["tensorflow=1"]
        assert wished(fake) == {}

    @pytest.mark.parametrize("change", [{"is_open": False}, {"has_network": True}])
    def test_none_for_a_pool_whose_notebooks_could_not_take_it(
        self, fake: StandbyBackend, engine: Engine, change: dict[str, bool]
    ) -> None:
        assert wished(fake) == {"python-data": 2}
        for name, value in change.items():
            setattr(engine.pool, name, value)
        engine.pool.save()
        assert wished(fake) == {}

    def test_each_engine_is_asked_by_the_sweep(
        self, fake: StandbyBackend, hints: list[tuple[str, tuple[Any, ...]]]
    ) -> None:
        keep_standbys()
        assert ("clusters.tasks.keep_standbys_of", ("local",)) in hints

    def test_an_engine_that_is_away_is_left_alone(self, fake: StandbyBackend) -> None:
        assert wished(fake) == {"python-data": 2}
        fake.is_down = True
        keep_standbys_of("local")
        fake.is_down = False
        assert fake.started == {"python-data": 2}


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_an_engine_that_cannot_is_not_asked(
    engine: Engine, hints: list[tuple[str, tuple[Any, ...]]]
) -> None:
    keep_standbys_of("local")
    keep_standbys()
    assert hints == []


@pytest.mark.parametrize("words", ["python-data", "=2", "python-data=two", "python-data=-1"])
def test_a_setting_that_cannot_be_read_is_told_at_the_start(settings: Any, words: str) -> None:
    settings.STANDBY = [words]
    assert "portal.E008" in [message.id for message in run_checks()]
