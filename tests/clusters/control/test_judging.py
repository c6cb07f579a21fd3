"""What counts as work, as idleness, and as neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.choices import Verdict
from clusters.control.judging import Countdown, Evidence, Limits, count_down, judge

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS = Limits(gpu_percent=5, cpu_percent=10)
NOTHING = Evidence(
    kernels=1,
    kernels_busy=0,
    used_at=NOW - timedelta(hours=1),
    connections=0,
    gpu_percent=0.0,
    cpu_percent=0.4,
)


def verdict(**changed: object) -> Verdict:
    return judge(replace(NOTHING, **changed), LIMITS, since=NOW - MINUTE).verdict  # type: ignore[arg-type]


def test_all_known_and_nothing_done_is_idle() -> None:
    assert verdict() == Verdict.IDLE


@pytest.mark.parametrize(
    "done",
    [
        {"kernels_busy": 1},
        {"gpu_percent": 5.0},
        {"cpu_percent": 10.0},
        {"used_at": NOW},
    ],
)
def test_anything_done_is_busy(done: dict[str, object]) -> None:
    assert verdict(**done) == Verdict.BUSY


@pytest.mark.parametrize("lost", ["kernels_busy", "gpu_percent", "cpu_percent"])
def test_anything_that_is_not_known_is_unknown(lost: str) -> None:
    assert verdict(**{lost: None}) == Verdict.UNKNOWN


@pytest.mark.parametrize("lost", ["kernels_busy", "gpu_percent", "cpu_percent"])
def test_what_is_busy_is_so_whatever_else_is_unknown(lost: str) -> None:
    busy = {"kernels_busy": 1, "gpu_percent": 90.0, "cpu_percent": 300.0}
    assert verdict(**{**busy, lost: None}) == Verdict.BUSY


def test_a_browser_that_only_looks_on_is_no_work() -> None:
    assert verdict(connections=3) == Verdict.IDLE


def test_no_kernel_at_all_is_idle() -> None:
    assert verdict(kernels=0, used_at=None) == Verdict.IDLE


number = st.none() | st.floats(0, 100)


@given(
    st.builds(
        Evidence,
        kernels=st.none() | st.integers(0, 5),
        kernels_busy=st.none() | st.integers(0, 5),
        used_at=st.none() | st.just(NOW) | st.just(NOW - timedelta(days=1)),
        connections=st.none() | st.integers(0, 5),
        gpu_percent=number,
        cpu_percent=number,
    )
)
def test_idle_is_only_said_where_everything_is_known(evidence: Evidence) -> None:
    found = judge(evidence, LIMITS, since=NOW - MINUTE)
    if found.verdict == Verdict.IDLE:
        assert None not in (evidence.kernels_busy, evidence.gpu_percent, evidence.cpu_percent)
    assert found.words


class Watch:
    """A notebook that is looked at once a minute; 30 minutes of idleness, 10 of notice."""

    def __init__(self, limit: timedelta | None = 30 * MINUTE) -> None:
        self.now, self.limit = NOW, limit
        self.count = Countdown(None, None)
        self.keep_until: datetime | None = None

    def look(self, verdict: Verdict, minutes: int = 1) -> None:
        for _ in range(minutes):
            self.now += MINUTE
            self.count = count_down(
                self.count,
                verdict,
                last=self.now - MINUTE,
                now=self.now,
                limit=self.limit,
                notice=10 * MINUTE,
                keep_until=self.keep_until,
            )


def test_the_end_is_announced_for_the_last_ten_minutes() -> None:
    watch = Watch()
    watch.look(Verdict.IDLE, 20)
    assert watch.count.stops_at is None
    watch.look(Verdict.IDLE)
    assert watch.count == Countdown(NOW + MINUTE, NOW + 31 * MINUTE)


def test_work_ends_the_countdown() -> None:
    watch = Watch()
    watch.look(Verdict.IDLE, 29)
    watch.look(Verdict.BUSY)
    assert watch.count == Countdown(None, None)


def test_what_is_unknown_counts_as_neither() -> None:
    watch = Watch()
    watch.look(Verdict.IDLE, 16)
    watch.look(Verdict.UNKNOWN, 1000)
    assert watch.count.stops_at is None
    watch.look(Verdict.IDLE, 4)
    assert watch.count.stops_at is None
    watch.look(Verdict.IDLE)
    assert watch.count.stops_at == watch.now + 10 * MINUTE


def test_unknown_pauses_a_countdown_that_is_announced_anew() -> None:
    watch = Watch()
    watch.look(Verdict.IDLE, 29)
    watch.look(Verdict.UNKNOWN)
    assert watch.count.stops_at is None
    watch.look(Verdict.IDLE)
    assert watch.count.stops_at == watch.now + 10 * MINUTE


def test_never_means_never() -> None:
    watch = Watch(limit=None)
    watch.look(Verdict.IDLE, 10_000)
    assert watch.count == Countdown(None, None)


def test_an_hour_that_was_kept_does_not_count() -> None:
    watch = Watch()
    watch.look(Verdict.IDLE, 25)
    watch.keep_until = watch.now + 60 * MINUTE
    watch.look(Verdict.IDLE, 60)
    watch.look(Verdict.IDLE, 19)
    assert watch.count.stops_at is None
    watch.look(Verdict.IDLE)
    assert watch.count.stops_at == watch.keep_until + 30 * MINUTE


def test_idleness_found_late_is_announced_all_the_same() -> None:
    late = count_down(
        Countdown(NOW - 300 * MINUTE, None),
        Verdict.IDLE,
        last=NOW - MINUTE,
        now=NOW,
        limit=30 * MINUTE,
        notice=10 * MINUTE,
        keep_until=None,
    )
    assert late.stops_at == NOW + 10 * MINUTE


@given(st.lists(st.sampled_from(list(Verdict)), max_size=120))
def test_it_is_never_stopped_before_it_was_idle_for_the_whole_limit(seen: list[Verdict]) -> None:
    watch = Watch()
    idle = 0
    for verdict in seen:
        watch.look(verdict)
        idle = {Verdict.BUSY: 0, Verdict.UNKNOWN: idle}.get(verdict, idle + 1)
        if watch.count.stops_at is not None:
            left = (watch.count.stops_at - watch.now) / MINUTE
            assert idle + left >= 30
