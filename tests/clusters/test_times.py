"""When schedules are due: months of all lengths, clocks that change, times that never come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.times import (
    check_cron,
    check_zone,
    count_between,
    next_after,
    times_after,
    upcoming,
    words_of,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def after(cron: str, zone: str, at: str, count: int) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M}" for time in upcoming(cron, zone, utc(at), count=count)]


def test_time_itself_is_not_after_itself() -> None:
    assert next_after("0 3 * * *", "UTC", utc("2026-11-28 03:00")) == utc("2026-11-29 03:00")
    assert next_after("0 3 * * *", "UTC", utc("2026-11-28 02:59:59")) == utc("2026-11-28 03:00")


def test_months_end_where_they_end() -> None:
    assert after("0 2 L * *", "UTC", "2027-01-30 00:00", 4) == [
        "2027-01-31 02:00", "2027-02-28 02:00", "2027-03-31 02:00", "2027-04-30 02:00",
    ]  # fmt: skip
    assert after("0 2 31 * *", "UTC", "2027-01-01 00:00", 3) == [
        "2027-01-31 02:00", "2027-03-31 02:00", "2027-05-31 02:00",
    ]  # fmt: skip
    assert after("0 2 29 2 *", "UTC", "2027-01-01 00:00", 2) == [
        "2028-02-29 02:00", "2032-02-29 02:00",
    ]  # fmt: skip


def test_time_zone_is_kept_through_the_year() -> None:
    assert after("0 8 * * *", "Europe/Berlin", "2027-03-26 12:00", 2) == [
        "2027-03-27 07:00", "2027-03-28 06:00",
    ]  # fmt: skip


def test_hour_that_is_left_out_is_made_good_once_right_after_it() -> None:
    # In Berlin it is 02:00 and then 03:00 (01:00 UTC).
    assert after("0,30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", 3) == [
        "2027-03-28 01:00", "2027-03-29 00:00", "2027-03-29 00:30",
    ]  # fmt: skip


def test_hour_that_comes_twice_is_due_once() -> None:
    assert after("30 2 * * *", "Europe/Berlin", "2027-10-30 12:00", 2) == [
        "2027-10-31 00:30", "2027-11-01 01:30",
    ]  # fmt: skip
    # Asked in the second of the two hours too.
    assert after("30 2 * * *", "Europe/Berlin", "2027-10-31 01:10", 1) == ["2027-11-01 01:30"]


def test_what_runs_every_hour_goes_on_every_hour_when_clocks_change() -> None:
    assert after("0 * * * *", "Europe/Berlin", "2027-10-30 23:30", 4) == [
        "2027-10-31 00:00", "2027-10-31 01:00", "2027-10-31 02:00", "2027-10-31 03:00",
    ]  # fmt: skip
    assert after("0 * * * *", "Europe/Berlin", "2027-03-27 23:30", 3) == [
        "2027-03-28 00:00", "2027-03-28 01:00", "2027-03-28 02:00",
    ]  # fmt: skip


def test_times_between_are_counted_without_the_first() -> None:
    day = (utc("2026-11-28 00:00"), utc("2026-11-29 00:00"))
    assert count_between("0 * * * *", "UTC", *day, most=100) == 24
    assert count_between("0 * * * *", "UTC", *day, most=10) == 10


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("61 * * * *", "The field for the minute"),
        ("0 24 * * *", "The field for the hour"),
        ("0 0 30 2 *", "The field for the day of month"),
        ("0 0 * * 8", "The field for the day of week"),
        ("*/0 * * * *", "The field for the minute"),
        ("0 0 " + "1," * 60 + "1 * *", "At most 100 characters"),
    ],
)
def test_what_is_wrong_is_said(cron: str, words: str) -> None:
    assert words in check_cron(cron)


def test_time_zones_are_those_of_the_world() -> None:
    assert not check_zone("Europe/Berlin")
    for name in ("Berlin", "", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 5000):
        assert check_zone(name) == "There is no such time zone. Write one as Europe/Berlin."


def test_times_are_put_into_words() -> None:
    words = words_of("30 8 * * 1-5", "America/New_York")
    assert words == "At 08:30 on Monday through Friday, America/New York"


FIELD = st.text("0123456789*/,-#LWMONFRIJAN ", max_size=12)


@given(st.lists(FIELD, min_size=5, max_size=5).map(" ".join))
def test_no_expression_does_more_than_be_refused_or_come_in_order(cron: str) -> None:
    if check_cron(cron):
        return
    assert words_of(cron, "UTC")
    for zone in ("UTC", "Europe/Berlin", "Australia/Lord_Howe"):
        at = utc("2027-03-27 12:34")
        found = upcoming(cron, zone, at, count=3)
        assert found == sorted(set(found))
        assert all(time > at for time in found)
        assert next(times_after(cron, zone, at), None) == next(iter(found), None)
