"""Billing periods: calendar months in UTC, half-open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise


def period_of(at: datetime) -> tuple[datetime, datetime]:
    """`[start, end)` of the month that holds `at`."""
    moment = at.astimezone(UTC)
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start, _next_month(start)


def midnight_of(day: date) -> datetime:
    """The instant a day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def cuts(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """`start` to `end` cut where a month begins; backwards when `end` is the earlier one."""
    points = [start, *_starts_between(min(start, end), max(start, end)), end]
    if end < start:
        points[1:-1] = points[-2:0:-1]
    yield from pairwise(points)


def _starts_between(first: datetime, last: datetime) -> Iterator[datetime]:
    """Starts of months strictly inside `(first, last)`."""
    start = period_of(first)[1]
    while start < last:
        yield start
        start = _next_month(start)


def _next_month(start: datetime) -> datetime:
    years, month = divmod(start.month, 12)
    return start.replace(year=start.year + years, month=month + 1)
