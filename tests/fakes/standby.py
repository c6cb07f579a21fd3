"""The engine in memory with servers that stand by: each is ready as soon as it is wished for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from clusters.backends.base import LaunchSpec, Observation
from clusters.backends.capabilities import Standby, StandbyState, StandbyWish
from tests.fakes.serving import ServingBackend


class StandbyBackend(ServingBackend, Standby):
    """`claimed` are the attempts that stood by; `started` counts servers by environment.

    `builds`: which build of an environment there is; what stands by of another one is not taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wishes: Sequence[StandbyWish] = ()
        self.claimed: list[str] = []
        self.started: Counter[str] = Counter()
        self.builds: dict[str, int] = {}
        self._standing: list[tuple[StandbyWish, int]] = []

    def submit(self, spec: LaunchSpec) -> Observation:
        is_new = spec.external_name not in self.seen
        seen = super().submit(spec)
        wanted = (spec.environment, spec.command, self._build(spec.environment))
        for one in self._standing:
            wish, build = one
            fits = spec.serves and not spec.network and not spec.reads
            if is_new and fits and (wish.environment, wish.command, build) == wanted:
                self._standing.remove(one)
                self.claimed.append(spec.external_name)
                break
        return seen

    def keep_standbys(self, wishes: Sequence[StandbyWish]) -> Sequence[StandbyState]:
        self._answer()
        self.wishes = wishes
        kept = []
        for wish in wishes:
            one = (replace(wish, count=0), self._build(wish.environment))
            there = min(self._standing.count(one), wish.count)
            self.started[wish.environment] += wish.count - there
            kept += [one] * wish.count
        self._standing = kept
        return [StandbyState(wish.environment, wish.count, 0) for wish in wishes]

    def _build(self, environment: str) -> int:
        return self.builds.get(environment, 0)
