"""One answer of squeue, and what else was asked to explain it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from clusters.backends.base import BackendUnavailable
from clusters.backends.slurm.absence import Daemons
from clusters.backends.slurm.listing import Accounts, Row

Key = tuple[str, int]


@dataclass(slots=True)
class Look:
    """One answer of squeue, and what accounting was asked since."""

    taken_at: float
    rows: list[Row]
    by_id: dict[Key, Row]
    by_name: dict[str, list[Row]]
    asked: set[str] = field(default_factory=set)
    nudged: set[str] = field(default_factory=set)
    accounts: dict[Key, list[Row]] = field(default_factory=lambda: defaultdict(list))
    accounts_on: bool = True
    accounts_error: BackendUnavailable | None = None
    daemons: Daemons | None = None

    @classmethod
    def of(cls, taken_at: float, rows: list[Row]) -> Look:
        """What squeue said, found by id and by name."""
        by_name: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_name[row.name].append(row)
        return cls(taken_at, rows, {(row.job_id, row.task): row for row in rows}, by_name)

    def add_accounts(self, answer: Accounts) -> None:
        """What accounting said of jobs squeue cannot tell of."""
        self.accounts_on = answer.is_on
        for row in answer.rows:
            self.accounts[row.job_id, row.task].append(row)
