"""Transition tables as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)


class Transitions(Generic[State]):
    """Which state may follow which."""

    def __init__(self, table: Mapping[State, frozenset[State]]) -> None:
        self._table = table

    def may(self, source: State, target: State) -> bool:
        """Whether `target` may follow `source`."""
        return target in self._table[source]

    def sources_of(self, target: State) -> list[State]:
        """The states from which `target` may be entered: the guard of a conditional update."""
        return [source for source, targets in self._table.items() if target in targets]

    def states(self) -> list[State]:
        """All there are."""
        return list(self._table)

    def final(self) -> list[State]:
        """States nothing follows."""
        return [state for state, targets in self._table.items() if not targets]
