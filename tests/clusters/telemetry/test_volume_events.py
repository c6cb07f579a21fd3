"""Of the event files in a volume, a run's own are found, within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clusters.telemetry import scalars
from clusters.telemetry.scalars import scalars_of
from clusters.telemetry.volume_events import MOST_DEPTH, Writer, files_of
from tests.clusters.telemetry.test_scalars import event
from tests.fakes.backend import FakeBackend

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOST = "fg-run-1"
DATA = event("loss", 0, simple=2.0)


def name_of(at: datetime, host: str = HOST, end: str = ".42.0") -> str:
    """The name a writer on `host` gives a file it begins at `at`."""
    return f"events.out.tfevents.{int(at.timestamp())}.{host}{end}"


def put(root: Path, name: str, *, modified_at: datetime = BEGAN + HOUR) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    os.utime(path, (modified_at.timestamp(), modified_at.timestamp()))


def found(writer: Writer) -> list[str]:
    return [file.path for file in files_of(writer)]


@pytest.fixture
def job(tmp_path: Path) -> Writer:
    """A job that goes on."""
    return Writer(tmp_path, (BEGAN, None), host=HOST)


@pytest.fixture
def notebook(tmp_path: Path) -> Writer:
    """A notebook that goes on, alone with its volume."""
    return Writer(tmp_path, (BEGAN, None))


@pytest.fixture
def engine() -> Iterator[FakeBackend]:
    scalars._known.clear()
    yield FakeBackend()
    scalars._known.clear()


@pytest.mark.parametrize("end", ["", ".42", ".42.0", ".42.1.v2"])
def test_what_it_writes_is_found_in_folders_of_the_volume(job: Writer, end: str) -> None:
    name = name_of(BEGAN + HOUR, end=end)
    put(job.root, f"runs/a/{name}")
    assert found(job) == [f"/workspace/runs/a/{name}"]


def test_what_was_there_before_it_began_is_not_its_own(job: Writer, notebook: Writer) -> None:
    put(job.root, name_of(BEGAN - HOUR))
    put(job.root, name_of(BEGAN - HOUR, "fastgpu"))
    assert found(job) == found(notebook) == []


def test_what_was_copied_with_its_old_time_is_not_its_own(job: Writer) -> None:
    put(job.root, name_of(BEGAN + HOUR), modified_at=BEGAN - HOUR)
    assert found(job) == []


def test_what_came_after_its_end_is_not_its_own(tmp_path: Path) -> None:
    put(tmp_path, name_of(BEGAN + 2 * HOUR), modified_at=BEGAN + 2 * HOUR)
    assert found(Writer(tmp_path, (BEGAN, BEGAN + HOUR), host=HOST)) == []
    assert found(Writer(tmp_path, (BEGAN, BEGAN + 3 * HOUR), host=HOST)) != []


@pytest.mark.parametrize("other", ["fg-run-2", "fastgpu", "laptop"])
def test_what_another_run_wrote_meanwhile_is_not_a_jobs(job: Writer, other: str) -> None:
    put(job.root, name_of(BEGAN + HOUR, other))
    assert found(job) == []


def test_a_notebook_has_what_no_job_wrote(notebook: Writer) -> None:
    put(notebook.root, name_of(BEGAN + HOUR, "fg-run-2"))
    put(notebook.root, name_of(BEGAN + HOUR, "fastgpu"))
    assert found(notebook) == [f"/workspace/{name_of(BEGAN + HOUR, 'fastgpu')}"]


def test_where_hosts_tell_nothing_any_host_is_its_own(tmp_path: Path) -> None:
    put(tmp_path, name_of(BEGAN + HOUR, "fg-node-2"))
    assert found(Writer(tmp_path, (BEGAN, None))) == []
    assert found(Writer(tmp_path, (BEGAN, None), is_any_host=True)) != []


@pytest.mark.parametrize(
    ("host", "is_own"), [("gpu1", True), ("gpu1.example.org", True), ("gpu2", False), ("x", False)]
)
def test_what_names_its_node_is_its_own_while_others_were_elsewhere(
    tmp_path: Path, host: str, is_own: bool
) -> None:
    put(tmp_path, name_of(BEGAN + HOUR, host))
    span = (BEGAN, None)
    nodes = frozenset({"gpu1"})
    beside = Writer(tmp_path, span, is_any_host=True, nodes=nodes, elsewhere=[span])
    assert bool(found(beside)) is is_own
    assert found(replace(beside, others=[span])) == []


def test_what_one_of_two_notebooks_wrote_is_neithers(tmp_path: Path) -> None:
    other = (BEGAN + HOUR, BEGAN + 2 * HOUR)
    writer = Writer(tmp_path, (BEGAN, None), others=[other])
    alone, together = (name_of(BEGAN + hours * HOUR, "fastgpu") for hours in (0.5, 1.5))
    put(tmp_path, alone)
    put(tmp_path, together)
    assert found(writer) == [f"/workspace/{alone}"]


def test_no_link_is_followed(job: Writer, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    put(outside, name_of(BEGAN + HOUR))
    (job.root / "runs").symlink_to(outside)
    (job.root / name_of(BEGAN + HOUR)).symlink_to(outside / name_of(BEGAN + HOUR))
    assert found(job) == []


def test_what_lies_too_deep_or_hidden_is_not_looked_for(job: Writer) -> None:
    name = name_of(BEGAN + HOUR)
    deepest = "d/" * MOST_DEPTH + name
    put(job.root, deepest)
    put(job.root, f"d/{deepest}")
    put(job.root, f".git/{name}")
    assert found(job) == [f"/workspace/{deepest}"]


def test_many_files_in_a_folder_hide_none_above_them(job: Writer) -> None:
    for number in range(30):
        put(job.root, f"data/deep/{number}")
    put(job.root, f"runs/{name_of(BEGAN + HOUR)}")
    put(job.root, f"zz/zz/zz/{name_of(BEGAN + HOUR)}")
    near = files_of(job, most_entries=20)
    assert [file.path for file in near] == [f"/workspace/runs/{name_of(BEGAN + HOUR)}"]
    assert len(found(job)) == 2


def test_of_one_folder_no_more_are_looked_at(job: Writer) -> None:
    for number in range(30):
        put(job.root, name_of(BEGAN + HOUR, end=f".{number}"))
    assert len(files_of(job, most_entries=20)) == 20


def test_a_volume_that_is_gone_holds_none(tmp_path: Path) -> None:
    assert found(Writer(tmp_path / "gone", (BEGAN, None), host=HOST)) == []


def test_they_are_drawn_beside_those_of_the_home(job: Writer, engine: FakeBackend) -> None:
    put(job.root, f"runs/{name_of(BEGAN + HOUR)}")
    engine.files[HOST] = {"runs/events.out.tfevents.1": DATA}
    series = scalars_of(engine, HOST, job).tags["loss"]
    assert [one.run for one in series] == ["/workspace/runs", "runs"]
