"""What GPUs did for an attempt, thinned out for a chart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Aggregate, Avg, DateTimeField, F, Func, Max, Min, Value
from django.db.models.fields import DurationField

from clusters.models import Attempt, Gpu, GpuSample

MAX_POINTS = 600
BEAT = timedelta(seconds=1)
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Series:
    """One GPU's points: time, utilisation (mean, %), memory (peak, bytes), power (mean, W).

    None is unknown. Points lie `interval` of the telemetry apart; a longer step is a gap.
    """

    gpu: Gpu
    points: tuple[tuple[datetime, float | None, int | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The series of an attempt; `interval` is the time one point stands for."""

    interval: timedelta
    series: tuple[Series, ...]


class DateBin(Func):
    """PostgreSQL's date_bin: the start of the stride a time falls into."""

    function = "date_bin"
    output_field = DateTimeField()


def telemetry_of(attempt: Attempt, *, points: int = MAX_POINTS) -> Telemetry:
    """At most `points` points for each GPU of `attempt`, averaged over equal strides."""
    samples = GpuSample.objects.filter(attempt=attempt)
    span = samples.aggregate(first=Min("at"), last=Max("at"))
    if span["first"] is None:
        return Telemetry(BEAT, ())
    stride = _stride(span["last"] - span["first"], points)
    width = Value(stride, output_field=DurationField())
    aggregates: dict[str, Aggregate] = {
        "utilization": Avg("utilization_percent"),
        "memory": Max("memory_used_bytes"),
        "power": Avg("power_watts"),
    }
    binned = (
        samples.annotate(bin=DateBin(width, F("at"), Value(_ORIGIN)))
        .values("gpu_id", "bin")
        .annotate(**aggregates)
        .order_by("gpu_id", "bin")
        .values_list("gpu_id", "bin", "utilization", "memory", "power")
    )
    by_gpu: dict[int, list[tuple[datetime, float | None, int | None, float | None]]]
    by_gpu = defaultdict(list)
    for gpu_id, *point in binned:
        by_gpu[gpu_id].append((point[0], point[1], point[2], point[3]))
    gpus = Gpu.objects.filter(pk__in=by_gpu).order_by("node_id", "index")
    return Telemetry(stride, tuple(Series(gpu, tuple(by_gpu[gpu.pk])) for gpu in gpus))


def _stride(span: timedelta, points: int) -> timedelta:
    """Whole seconds, so wide that `points` of them cover `span` wherever the first begins."""
    seconds = -(-int(span.total_seconds() + 1) // max(1, points - 1))
    return max(BEAT, timedelta(seconds=seconds))
