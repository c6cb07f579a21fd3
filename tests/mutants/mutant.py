"""What a deliberate fault is."""

from __future__ import annotations

from dataclasses import dataclass

ACTIONS = "tests/billing/actions"


MACHINE = "tests/billing/test_machine.py::test_books_agree_after_any_history"
CONCURRENCY = "tests/concurrency/test_money.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """`old`, which is there once, becomes `new` in `path`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` becomes `new` in `path`; `test` must turn red. Without a path only guards are off.

    `guards` are `table.name` of constraints, indexes and triggers; `more` are further edits.
    """

    name: str
    path: str
    old: str
    new: str
    test: str
    guards: tuple[str, ...] = ()
    more: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All of them."""
        return ((Edit(self.path, self.old, self.new),) if self.path else ()) + self.more
