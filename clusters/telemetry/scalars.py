"""The scalars a run has written for TensorBoard, thinned out for charts."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from clusters.backends.base import Backend, OutputFile
from clusters.backends.files import open_file
from clusters.telemetry.event_files import EventReader, Point
from clusters.telemetry.volume_events import WORKSPACE, Writer, files_of

logger = logging.getLogger(__name__)
EVENT_FILE = re.compile(r"events\.out\.tfevents\.[^/]*$")
MOST_FILES = 40
MOST_SERIES = 200
MOST_POINTS = 800
# Of all series of a run together: many of them are drawn coarser.
MOST_IN_ALL = 60_000
MOST_HIDDEN = 1000
# Read of one run in one go; what is left comes with the next question.
MOST_BYTES = 2 << 20
KEPT_RUNS = 16


@dataclass(frozen=True, slots=True)
class Series:
    """What one folder's writer said of one tag: steps, epoch seconds and values, in order."""

    run: str
    steps: tuple[int, ...]
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scalars:
    """Tag -> its series. `is_whole` False: there is more to read, ask again.

    `hidden_series` counts those there was no room for, up to `MOST_HIDDEN`.
    """

    tags: Mapping[str, tuple[Series, ...]]
    is_whole: bool
    hidden_series: int


@dataclass(slots=True)
class _Line:
    """Every `stride`th of `count` points of one tag in one folder."""

    points: list[Point] = field(default_factory=list)
    stride: int = 1
    count: int = 0


@dataclass(slots=True)
class _Known:
    """What has been read of one attempt's files."""

    readers: dict[str, EventReader] = field(default_factory=dict)
    lines: dict[tuple[str, str], _Line] = field(default_factory=dict)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


_known: OrderedDict[str, _Known] = OrderedDict()
_known_lock = threading.Lock()


def scalars_of(engine: Backend, external_name: str, writer: Writer | None = None) -> Scalars:
    """All scalars of an attempt so far. Raises BackendUnavailable.

    Those in its home, and in the volume that it has written into as `writer`. Reads only what has
    come since it was last asked: that is kept for some runs in each process.
    """
    listed = [*engine.list_files(external_name), *(files_of(writer) if writer else ())]
    files = event_files(listed)
    known = _remember(external_name)
    with known.lock:
        is_whole = _read(partial(_open, engine, external_name, writer), files, known)
        return _shown(known, is_whole=is_whole)


def event_files(files: Iterable[OutputFile]) -> list[OutputFile]:
    """Those TensorBoard would read, the newest `MOST_FILES`."""
    found = [file for file in files if EVENT_FILE.search(file.path)]
    newest = sorted(found, key=lambda file: file.modified_at, reverse=True)[:MOST_FILES]
    return sorted(newest, key=lambda file: file.path)


def _remember(external_name: str) -> _Known:
    with _known_lock:
        known = _known.pop(external_name, None) or _Known()
        _known[external_name] = known
        while len(_known) > KEPT_RUNS:
            _known.popitem(last=False)
    return known


def _open(engine: Backend, name: str, writer: Writer | None, path: str) -> BinaryIO:
    if writer is not None and path.startswith(WORKSPACE):
        return open_file(writer.root, path.removeprefix(WORKSPACE))
    return engine.open_file(name, path)


def _read(opened: Callable[[str], BinaryIO], files: Iterable[OutputFile], known: _Known) -> bool:
    left = MOST_BYTES
    for file in files:
        reader = known.readers.setdefault(file.path, EventReader())
        if reader.offset >= file.size_bytes or left <= 0:
            continue
        began = reader.offset
        try:
            with opened(file.path) as stream:
                for point in reader.read(stream, most_bytes=left):
                    _keep(known, file.path, point)
        except FileNotFoundError:
            continue  # gone since it was listed
        left -= reader.offset - began
    return left > 0


def _keep(known: _Known, path: str, point: Point) -> None:
    """Every nth point, n growing with their number: the chart keeps its shape, memory its bound."""
    key = (point.tag, path.rpartition("/")[0] or ".")
    line = known.lines.get(key)
    if line is None:
        if len(known.lines) >= MOST_SERIES:
            if len(known.hidden) < MOST_HIDDEN:
                known.hidden.add(key)
            return
        line = known.lines[key] = _Line()
    if line.count % line.stride == 0:
        line.points.append(point)
    line.count += 1
    while len(line.points) >= 2 * min(MOST_POINTS, MOST_IN_ALL // len(known.lines)):
        line.points, line.stride = line.points[::2], line.stride * 2


def _shown(known: _Known, *, is_whole: bool) -> Scalars:
    tags: dict[str, list[Series]] = {}
    for (tag, run), line in sorted(known.lines.items()):
        # A writer that was started again begins anew at an earlier step.
        ordered = sorted(line.points, key=lambda point: (point.step, point.wall_time))
        series = Series(
            run,
            tuple(point.step for point in ordered),
            tuple(point.wall_time for point in ordered),
            tuple(point.value for point in ordered),
        )
        tags.setdefault(tag, []).append(series)
    return Scalars({tag: tuple(rows) for tag, rows in tags.items()}, is_whole, len(known.hidden))
