"""What the cost of something is split by, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostLabels:
    """A project of the team (its own words), who asked for it with which API key, and the pool."""

    project: str = ""
    member_id: int | None = None
    api_key_id: int | None = None
    pool: str = ""


NO_LABELS = CostLabels()
