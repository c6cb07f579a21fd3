"""Scalars are read from event files as they grow, whole or broken."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from clusters.telemetry import scalars
from clusters.telemetry.event_files import (
    MOST_RECORD_BYTES,
    MOST_TAG_CHARS,
    EventReader,
    Point,
    _message,
)
from clusters.telemetry.scalars import MOST_IN_ALL, MOST_POINTS, MOST_SERIES, scalars_of
from tests.fakes.backend import FakeBackend

NAME = "fg-run-1"


def record(data: bytes) -> bytes:
    return struct.pack("<QI", len(data), 0) + data + b"\0\0\0\0"


def event(tag: str, step: int, **value: object) -> bytes:
    made = _message("Event")(step=step, wall_time=1000.0 + step)
    one = made.summary.value.add(tag=tag)
    if "simple" in value:
        one.simple_value = value["simple"]
    if "tensor" in value:
        one.tensor.dtype = 1
        one.tensor.tensor_content = value["tensor"]
    if "plugin" in value:
        one.metadata.plugin_data.plugin_name = value["plugin"]
    return record(made.SerializeToString())


def read(data: bytes, reader: EventReader | None = None) -> list[Point]:
    return list((reader or EventReader()).read(io.BytesIO(data), most_bytes=1 << 30))


@pytest.fixture
def engine() -> Iterator[FakeBackend]:
    scalars._known.clear()
    yield FakeBackend()
    scalars._known.clear()


def test_files_of_tensorboardx_are_read(tmp_path: Path, engine: FakeBackend) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with SummaryWriter(str(tmp_path)) as writer:
            for step in range(5):
                writer.add_scalar("loss/train", 1 / (step + 1), step)
                writer.add_text("note", "no scalar", step)
    (file,) = tmp_path.iterdir()
    engine.files[NAME] = {f"runs/a/{file.name}": file.read_bytes()}
    found = scalars_of(engine, NAME)
    (series,) = found.tags["loss/train"]
    assert (series.run, series.steps) == ("runs/a", (0, 1, 2, 3, 4))
    assert series.values == pytest.approx((1, 0.5, 1 / 3, 0.25, 0.2))
    assert (set(found.tags), found.is_whole) == ({"loss/train"}, True)


def test_tensors_of_tensorflow_are_scalars_once_it_has_said_so() -> None:
    first = event("loss", 0, tensor=struct.pack("<f", 2.0), plugin="scalars")
    later = event("loss", 1, tensor=struct.pack("<f", 1.0))
    image = event("picture", 1, tensor=struct.pack("<f", 9.0), plugin="images")
    assert [(p.tag, p.step, p.value) for p in read(first + later + image)] == [
        ("loss", 0, 2.0),
        ("loss", 1, 1.0),
    ]


def test_a_growing_file_is_read_on_from_where_it_was(engine: FakeBackend) -> None:
    path, first = "events.out.tfevents.1", event("loss", 0, simple=2.0)
    whole = first + event("loss", 1, simple=1.0)
    engine.files[NAME] = {path: whole[:-3]}
    assert scalars_of(engine, NAME).tags["loss"][0].steps == (0,)
    engine.files[NAME] = {path: whole}
    assert scalars_of(engine, NAME).tags["loss"][0].steps == (0, 1)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0" * 11,
        struct.pack("<QI", MOST_RECORD_BYTES + 1, 0) + b"x" * 100,
        struct.pack("<QI", 2**63, 0),
        record(b"\xff" * 50),
    ],
)
def test_what_makes_no_sense_ends_the_reading(broken: bytes) -> None:
    assert [p.value for p in read(event("a", 1, simple=3.0) + broken)] == [3.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_a_gap(value: float) -> None:
    assert read(event("loss", 1, simple=value)) == []


def test_many_points_keep_their_shape_within_a_bound(engine: FakeBackend) -> None:
    data = b"".join(event("loss", step, simple=float(step)) for step in range(10_000))
    engine.files[NAME] = {"events.out.tfevents.1": data}
    (series,) = scalars_of(engine, NAME).tags["loss"]
    assert MOST_POINTS <= len(series.steps) <= 2 * MOST_POINTS
    assert series.steps[0] == 0
    assert series.steps[-1] > 9_900
    assert list(series.steps) == sorted(series.steps)


def test_too_many_series_are_counted_not_kept(engine: FakeBackend) -> None:
    data = b"".join(event(f"tag{n}", 0, simple=1.0) for n in range(MOST_SERIES + 5))
    engine.files[NAME] = {"events.out.tfevents.1": data}
    found = scalars_of(engine, NAME)
    assert (len(found.tags), found.hidden_series) == (MOST_SERIES, 5)


def test_folders_count_as_tags_do(engine: FakeBackend) -> None:
    data = b"".join(event(f"tag{n}", 0, simple=1.0) for n in range(MOST_SERIES // 2))
    engine.files[NAME] = {f"{name}/events.out.tfevents.1": data for name in "abc"}
    found = scalars_of(engine, NAME)
    kept = sum(len(series) for series in found.tags.values())
    assert (kept, found.hidden_series) == (MOST_SERIES, MOST_SERIES // 2)


def test_many_series_share_a_bound(engine: FakeBackend) -> None:
    data = b"".join(
        event(f"tag{n}", step, simple=1.0) for step in range(700) for n in range(MOST_SERIES)
    )
    engine.files[NAME] = {"events.out.tfevents.1": data}
    while not (found := scalars_of(engine, NAME)).is_whole:
        pass
    kept = sum(len(one.steps) for series in found.tags.values() for one in series)
    assert MOST_IN_ALL // 2 <= kept <= 2 * MOST_IN_ALL


def test_a_tag_that_is_too_long_is_none() -> None:
    tag = "x" * MOST_TAG_CHARS
    found = read(event(tag, 1, simple=1.0) + event(tag + "x", 1, simple=2.0))
    assert [(p.tag, p.value) for p in found] == [(tag, 1.0)]


def test_run_that_was_started_again_is_one_line(engine: FakeBackend) -> None:
    engine.files[NAME] = {
        "events.out.tfevents.1": event("loss", 5, simple=1.0),
        "events.out.tfevents.2": event("loss", 2, simple=2.0),
    }
    (series,) = scalars_of(engine, NAME).tags["loss"]
    assert series.steps == (2, 5)


def test_other_files_are_left_alone(engine: FakeBackend) -> None:
    engine.files[NAME] = {"model.pt": b"x" * 100, "events.out.tfevents/../x": b"y"}
    assert scalars_of(engine, NAME).tags == {}
