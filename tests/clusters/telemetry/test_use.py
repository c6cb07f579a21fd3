"""What the samples of GPUs come to for billing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from accounts.actor import Actor
from billing.models import UsageMeasure
from clusters.backends.base import EndReason
from clusters.models import Attempt, GpuSample
from clusters.telemetry.use import report_use
from portal.lib import clock
from tests.clusters.telemetry.test_ingest import run
from tests.conftest import Engine
from tests.fakes.loop import tick

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def begin(actor: Actor, engine: Engine, *, gpus: int = 1) -> Attempt:
    with clock.use(lambda: NOON):
        attempt = run(actor, engine, gpus=gpus)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=NOON)
    return attempt


def sample(attempt: Attempt, at: datetime, *percents: float | None) -> None:
    for allotment, percent in zip(attempt.allotments.order_by("gpu__index"), percents, strict=True):
        GpuSample.objects.create(
            attempt=attempt, gpu_id=allotment.gpu_id, at=at, utilization_percent=percent
        )


def report(at: datetime) -> int:
    with clock.use(lambda: at):
        return report_use()


def sums() -> list[tuple[datetime, int, int, int]]:
    rows = UsageMeasure.objects.order_by("hour")
    return list(rows.values_list("hour", "unit_seconds", "busy_ppm_seconds", "idle_seconds"))


def test_every_gpu_counts_by_its_own_samples(actor: Actor, engine: Engine) -> None:
    attempt = begin(actor, engine, gpus=2)
    sample(attempt, NOON + timedelta(seconds=5), 100.0, 4.9)
    sample(attempt, NOON + timedelta(seconds=6), 50.0, 5.0)
    assert report(NOON + timedelta(minutes=1)) == 1
    assert sums() == [(NOON, 4, 1_599_000, 1)]


def test_a_missing_value_is_unknown_and_not_idle(actor: Actor, engine: Engine) -> None:
    attempt = begin(actor, engine)
    sample(attempt, NOON + timedelta(seconds=5), None)
    assert report(NOON + timedelta(minutes=1)) == 0
    assert sums() == []


def test_late_samples_of_the_hour_before_are_taken_in(actor: Actor, engine: Engine) -> None:
    attempt = begin(actor, engine)
    sample(attempt, NOON + timedelta(minutes=50), 100.0)
    report(NOON + timedelta(minutes=55))
    sample(attempt, NOON + timedelta(minutes=59), 0.0)
    sample(attempt, NOON + timedelta(minutes=61), 100.0)
    report(NOON + timedelta(minutes=65))
    assert [(row[0].hour, row[1]) for row in sums()] == [(12, 2), (13, 1)]


def test_what_came_after_the_end_does_not_count(actor: Actor, engine: Engine) -> None:
    attempt = begin(actor, engine)
    sample(attempt, NOON + timedelta(seconds=5), 100.0)
    sample(attempt, NOON + timedelta(seconds=9), 100.0)
    engine.backend.end(attempt.external_name, EndReason.COMPLETED)
    with clock.use(lambda: NOON + timedelta(seconds=7)):
        tick()
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=NOON + timedelta(seconds=7))
    report(NOON + timedelta(minutes=1))
    assert [row[1] for row in sums()] == [1]
