"""What lists and pages of schedules show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from clusters.models import Schedule, ScheduleRun
from clusters.times import upcoming, words_of
from portal.lib import clock

UPCOMING = 5


@dataclass(frozen=True, slots=True)
class Due:
    """A time to come, and the same as its time zone writes it."""

    at: datetime
    local: datetime

    @property
    def text(self) -> str:
        """As a clock there shows it: `Mon 30 Nov, 03:00`."""
        return f"{self.local:%a} {self.local.day} {self.local:%b, %H:%M}"


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule, its times in words, and what came of the last one."""

    schedule: Schedule
    words: str
    last: ScheduleRun | None


def rows_of(schedules: Sequence[Schedule]) -> list[ScheduleRow]:
    """The schedules as lists show them, in one query more."""
    keys = [schedule.pk for schedule in schedules]
    runs = ScheduleRun.objects.filter(schedule__in=keys).select_related("workload")
    last = {
        run.schedule_id: run for run in runs.order_by("schedule_id", "-pk").distinct("schedule")
    }
    return [
        ScheduleRow(schedule, words_of(schedule.cron, schedule.timezone), last.get(schedule.pk))
        for schedule in schedules
    ]


def next_times(cron: str, zone: str, *, count: int = UPCOMING) -> list[Due]:
    """The next times of what was checked."""
    local = ZoneInfo(zone)
    found = upcoming(cron, zone, clock.now(), count=count)
    return [Due(at, at.astimezone(local)) for at in found]


def runs_of(schedule: Schedule) -> QuerySet[ScheduleRun]:
    """What came of its times, the latest first."""
    return schedule.runs.select_related("workload").order_by("-pk")
