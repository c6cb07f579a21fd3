"""What every engine with servers that stand by must do, as a class of tests to inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from clusters.backends.base import Backend, LaunchSpec, Phase
from clusters.backends.capabilities import Standby, StandbyWish
from tests.contracts.backend import wait_for


class StandbyEngine(Backend, Standby):
    """What the contract is about."""


class StandbyContract:
    """Tests of `engine`, `wish` and `spec`, which fit each other, and `rebuild`.

    `rebuild` changes the environment of `wish`; `claimed` tells which attempts stood by before.
    """

    @pytest.fixture
    def engine(self) -> StandbyEngine:
        raise NotImplementedError

    @pytest.fixture
    def wish(self) -> StandbyWish:
        raise NotImplementedError

    @pytest.fixture
    def spec(self) -> Callable[[], LaunchSpec]:
        raise NotImplementedError

    @pytest.fixture
    def claimed(self) -> Callable[[LaunchSpec], bool]:
        raise NotImplementedError

    @pytest.fixture
    def rebuild(self) -> Callable[[], None]:
        raise NotImplementedError

    @pytest.mark.parametrize("count", [2, 1, 0])
    def test_as_many_stand_by_as_are_wished_for(
        self, engine: StandbyEngine, wish: StandbyWish, count: int
    ) -> None:
        keep(engine, replace(wish, count=2))
        keep(engine, replace(wish, count=count))

    def test_a_launch_that_fits_takes_one_which_is_made_good_for(
        self,
        engine: StandbyEngine,
        wish: StandbyWish,
        spec: Callable[[], LaunchSpec],
        claimed: Callable[[LaunchSpec], bool],
    ) -> None:
        keep(engine, wish)
        for _ in range(2):
            launched = spec()
            assert engine.submit(launched).phase is Phase.RUNNING
            assert claimed(launched)
            keep(engine, wish)

    def test_a_launch_that_finds_none_starts_one_itself(
        self,
        engine: StandbyEngine,
        wish: StandbyWish,
        spec: Callable[[], LaunchSpec],
        claimed: Callable[[LaunchSpec], bool],
    ) -> None:
        keep(engine, wish)
        first, second = spec(), spec()
        engine.submit(first)
        engine.submit(second)
        assert (claimed(first), claimed(second)) == (True, False)

    @pytest.mark.parametrize("change", [{"command": "true"}, {"serves": False}, {"network": True}])
    def test_what_does_not_fit_takes_none(
        self,
        engine: StandbyEngine,
        wish: StandbyWish,
        spec: Callable[[], LaunchSpec],
        claimed: Callable[[LaunchSpec], bool],
        change: dict[str, object],
    ) -> None:
        keep(engine, wish)
        other = replace(spec(), **change)  # type: ignore[arg-type]
        engine.submit(other)
        assert not claimed(other)

    def test_of_an_environment_that_changed_none_is_taken_and_new_ones_stand_by(
        self,
        engine: StandbyEngine,
        wish: StandbyWish,
        spec: Callable[[], LaunchSpec],
        claimed: Callable[[LaunchSpec], bool],
        rebuild: Callable[[], None],
    ) -> None:
        keep(engine, wish)
        rebuild()
        before = spec()
        engine.submit(before)
        keep(engine, wish)
        after = spec()
        engine.submit(after)
        assert (claimed(before), claimed(after)) == (False, True)


def keep(engine: StandbyEngine, *wishes: StandbyWish) -> None:
    """Wait until exactly that stands by."""
    wanted: Sequence[tuple[str, int, int]] = [(w.environment, w.count, 0) for w in wishes]

    def is_so() -> bool:
        states = engine.keep_standbys(wishes)
        return [(s.environment, s.ready, s.starting) for s in states] == wanted

    wait_for(is_so, 60)
