"""Filters of a list, kept in its address."""

from __future__ import annotations

from typing import Any

from clusters.queries.runs import Filters


def chips_of(
    counts: dict[str, int], filters: Filters, *, chosen: str, home: str
) -> list[dict[str, Any]]:
    """One for all, at `home`, and one for each filter, with how many it shows."""
    names = {"": "all", **{name: name for name in filters}}
    return [
        {
            "label": name.capitalize(),
            "count": counts[name],
            "url": f"?status={value}" if value else home,
            "is_active": value == chosen,
        }
        for value, name in names.items()
    ]
