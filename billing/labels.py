"""What the cost of something is split by, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostLabels:
    """A project of the team (its own words), the member and the API key that asked for it."""

    project: str = ""
    member_id: int | None = None
    api_key_id: int | None = None


NO_LABELS = CostLabels()
