"""Django's PostgreSQL with a step before and after each commit, and around each statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.postgresql import base

from tests.chaos import steps


class DatabaseWrapper(base.DatabaseWrapper):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(self._around)

    def _around(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        inside = self.in_atomic_block
        words = " ".join(sql.split())[:70]
        steps.reach(f"{steps.INSIDE if inside else ''}before {words}")
        result = execute(sql, params, many, context)
        if not inside and not words.startswith("SELECT"):
            # After a read, and inside a transaction, the next step stands for this one.
            steps.reach(f"after {words}")
        return result

    def _commit(self) -> None:
        steps.reach("before COMMIT")
        super()._commit()  # type: ignore[misc]  # the stubs leave it out
        steps.reach("after COMMIT")
