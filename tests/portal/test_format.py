"""How pages write money, time and size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from portal.lib import clock
from portal.templatetags import portal_format as written

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (1_234_560_000, "$1,234.56"),
        (0, "$0.00"),
        (10_000, "$0.01"),
        (3_400, "$0.0034"),
        (50, "$0.000050"),
        (-1_234_567_890, "-$1,234.57"),
        (None, "\N{EN DASH}"),
    ],
)
def test_money_shows_enough_digits(micros: int | None, text: str) -> None:
    assert written.money(micros) == text


@pytest.mark.parametrize(
    ("micros", "text"),
    [(2_100_000, "$2.1000"), (35_000, "$0.0350"), (99, "$0.000099"), (0, "$0.0000")],
)
def test_precise_money_has_four_places(micros: int, text: str) -> None:
    assert written.money_precise(micros) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (42, "42 s"),
        (192, "3 min 12 s"),
        (7_620, "2 h 07 min"),
        (273_600, "3 d 4 h"),
        (timedelta(seconds=65), "1 min 05 s"),
        (-3, "0 s"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float | timedelta, text: str) -> None:
    assert written.duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=40), "40 s ago"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(days=2), "2 d ago"),
        (timedelta(days=30), "2 Feb 2026"),
        (-timedelta(minutes=9), "in 9 min"),
    ],
)
def test_instants_are_relative(before: timedelta, text: str) -> None:
    with clock.use(lambda: NOW):
        assert f">{text}</time>" in written.ago(NOW - before)


def test_the_exact_instant_is_on_hover() -> None:
    html = written.ago(NOW)
    assert 'datetime="2026-03-04T05:06:07+00:00"' in html
    assert 'title="4 Mar 2026, 05:06:07 UTC"' in html


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (80 * 1024**3, "80.0 GiB"),
     (300 * 1024**2, "300 MiB")],
)  # fmt: skip
def test_sizes_use_binary_units(count: int, text: str) -> None:
    assert written.bytes(count) == text


def test_long_names_lose_their_middle() -> None:
    assert written.middle_truncate("abcdefghij", 7) == "abc…hij"


def test_short_names_stay_whole() -> None:
    assert written.middle_truncate("abcdefg", 7) == "abcdefg"


def test_markup_in_a_name_stays_text() -> None:
    page = Template("{{ name|middle_truncate:20 }}").render(Context({"name": "<b>x</b>"}))
    assert page == "&lt;b&gt;x&lt;/b&gt;"


def test_a_run_is_found_by_the_kind_its_id_begins_with() -> None:
    assert written.run_url("job_1") == "/jobs/job_1/"
    assert written.run_url("nb_1") == "/notebooks/nb_1/"
