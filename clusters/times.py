"""When a schedule is due: cron expressions of five fields, read in a time zone as cron reads them.

Where clocks go forward, what would fall into the hour that is left out is due right after it; where
they go back, what names an hour is due once, and what runs every hour goes on every hour.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice, takewhile

from cronsim import CronSim, CronSimError

from portal.lib import clock

FIELDS = 5
MAX_LENGTH = 100
EXAMPLES = {
    "0 * * * *": "Every hour",
    "0 3 * * *": "Every day at 03:00",
    "0 8 * * 1-5": "Monday to Friday at 08:00",
    "0 6 * * 1": "Every Monday at 06:00",
    "0 2 1 * *": "On the first of each month at 02:00",
    "0 2 L * *": "On the last day of each month at 02:00",
}


class NeverDue(CronSimError):
    """An expression that names no time."""


@cache
def zones() -> frozenset[str]:
    """Names of time zones this machine knows."""
    return frozenset(zoneinfo.available_timezones() | {"UTC"})


def check_zone(name: str) -> str:
    """ "" or what is wrong with the name of a time zone."""
    return "" if name in zones() else "There is no such time zone. Write one as Europe/Berlin."


def check_cron(cron: str) -> str:
    """ "" or what is wrong with an expression."""
    if len(cron) > MAX_LENGTH:
        return f"At most {MAX_LENGTH} characters are taken."
    if len(cron.split()) != FIELDS:
        return "Write five fields: minute, hour, day of month, month, day of week."
    try:
        next_after(cron, "UTC", clock.now())
    except NeverDue:
        return "These times never come."
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("day-of-", "day of ")
        return f"The field for the {field} cannot be read. An example: 0 3 * * 1-5"
    return ""


def times_after(cron: str, zone: str, at: datetime) -> Iterator[datetime]:
    """The times after `at`, in UTC, in order. Raises CronSimError for no expression."""
    last = at.astimezone(UTC)
    local = UTC if zone == "UTC" else zoneinfo.ZoneInfo(zone)
    for found in CronSim(cron, at.astimezone(local)):
        instant = found.astimezone(UTC)
        if instant > last:
            last = instant
            yield instant


def next_after(cron: str, zone: str, at: datetime) -> datetime:
    """The first time after `at`. Raises NeverDue where none comes in decades."""
    following = next(times_after(cron, zone, at), None)
    if following is None:
        raise NeverDue(cron)
    return following


def upcoming(cron: str, zone: str, at: datetime, *, count: int) -> list[datetime]:
    """The next times after `at`."""
    return list(islice(times_after(cron, zone, at), count))


def count_between(cron: str, zone: str, after: datetime, until: datetime, *, most: int) -> int:
    """How many times lie in `(after, until]`; no more than `most` are counted."""
    times = takewhile(lambda time: time <= until, times_after(cron, zone, after))
    return sum(1 for _ in islice(times, most))


def words_of(cron: str, zone: str) -> str:
    """The times in words: `At 03:20 every day, UTC`."""
    return f"{CronSim(cron, clock.now()).explain()}, {zone.replace('_', ' ')}"
