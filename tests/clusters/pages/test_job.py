"""A job's page and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.models import Attempt, Gpu, GpuSample, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

SignIn = Callable[[User], Client]
REQUEST = JobRequest(
    "digits", "a100", 1, "echo hi", time_limit_seconds=600, env={"TOKEN": "hush-hush"}
)


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs, has printed and has written a file."""
    made = launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    made.refresh_from_db()
    engine.backend.logs[name_of(made)] = b"one\n<script>two</script>\n"
    engine.backend.files[name_of(made)] = {"out/model.bin": b"\0\1", ".cache/x": b"x"}
    return made


def name_of(job: Workload) -> str:
    return Attempt.objects.get(workload=job).external_name


def body_of(response: Any) -> bytes:
    """What a response streams, as the server would read it."""

    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return asyncio.run(read())


def test_the_page_shows_variables_by_name_only(
    alice: User, job: Workload, client_of: SignIn
) -> None:
    page = client_of(alice).get(f"/jobs/{job.public_id}/").content.decode()
    assert "TOKEN" in page
    assert "hush-hush" not in page


def test_an_end_is_told_with_its_reason_and_advice(
    alice: User, job: Workload, engine: Engine, client_of: SignIn
) -> None:
    engine.backend.end(name_of(job), EndReason.USER_ERROR, exit_code=3)
    tick()
    page = client_of(alice).get(f"/jobs/{job.public_id}/status/").content.decode()
    assert "The command ended with an error." in page
    assert "The last lines of the log usually say why." in page
    assert "Exit code 3." in page


def test_a_waiting_job_knows_its_place_and_longest_wait(
    alice: User, actor: Actor, job: Workload, engine: Engine, client_of: SignIn
) -> None:
    waiting = launch(actor, JobRequest("big", "a100", 4, "true"))
    drive_pool(engine.pool.pk)
    page = client_of(alice).get(f"/jobs/{waiting.public_id}/status/").content.decode()
    assert "Next in the queue. Starts within 10 min" in page


def test_what_stop_says_follows_the_status(alice: User, job: Workload, client_of: SignIn) -> None:
    page = client_of(alice).get(f"/jobs/{job.public_id}/status/").content.decode()
    assert "Up to $0.0058 for those seconds" in page


def test_stop_asks_the_job_to_stop(alice: User, job: Workload, client_of: SignIn) -> None:
    response = client_of(alice).post(f"/jobs/{job.public_id}/cancel/")
    job.refresh_from_db()
    assert (response.status_code, job.status) == (303, "stopping")


def test_stopping_what_has_ended_says_so(
    alice: User, job: Workload, engine: Engine, client_of: SignIn
) -> None:
    engine.backend.end(name_of(job), EndReason.COMPLETED)
    tick()
    response = client_of(alice).post(f"/jobs/{job.public_id}/cancel/", follow=True)
    assert "It had ended already." in response.content.decode()


def test_a_get_stops_nothing(alice: User, job: Workload, client_of: SignIn) -> None:
    assert client_of(alice).get(f"/jobs/{job.public_id}/cancel/").status_code == 405


def test_the_log_is_plain_text_from_an_offset(
    alice: User, job: Workload, client_of: SignIn
) -> None:
    response = client_of(alice).get(f"/jobs/{job.public_id}/log?offset=4")
    assert response.content == b"<script>two</script>\n"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert (response["X-Next-Offset"], response["X-Complete"]) == ("25", "false")


@pytest.mark.parametrize("offset", ["-1", "x", "", "9" * 30, "\N{FULLWIDTH DIGIT ONE}"])
def test_an_offset_that_is_none_is_refused(
    alice: User, job: Workload, client_of: SignIn, offset: str
) -> None:
    response = client_of(alice).get(f"/jobs/{job.public_id}/log", {"offset": offset})
    assert response.status_code == 400


def test_files_are_listed_without_hidden_ones(
    alice: User, job: Workload, client_of: SignIn
) -> None:
    page = client_of(alice).get(f"/jobs/{job.public_id}/files/").content.decode()
    assert "out/model.bin" in page
    assert ".cache" not in page


def test_a_file_comes_as_a_download(alice: User, job: Workload, client_of: SignIn) -> None:
    response = client_of(alice).get(f"/jobs/{job.public_id}/files/out/model.bin")
    assert body_of(response) == b"\0\1"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="model.bin"'
    assert response["Content-Length"] == "2"


def test_the_whole_log_can_be_downloaded(alice: User, job: Workload, client_of: SignIn) -> None:
    response = client_of(alice).get(f"/jobs/{job.public_id}/log/download")
    assert body_of(response) == b"one\n<script>two</script>\n"


@pytest.mark.parametrize("path", ["nothing", "../log", "out/../../log", "/etc/passwd", "out"])
def test_what_is_no_file_of_the_job_is_404(
    alice: User, job: Workload, client_of: SignIn, path: str
) -> None:
    response = client_of(alice).get(f"/jobs/{job.public_id}/files/{path}")
    assert response.status_code == 404


@pytest.mark.parametrize(
    "part",
    ["", "status/", "log", "log/download", "files/", "files/out/model.bin", "telemetry.json"],
)
def test_anothers_job_is_404(charlie: User, job: Workload, client_of: SignIn, part: str) -> None:
    assert client_of(charlie).get(f"/jobs/{job.public_id}/{part}").status_code == 404


def test_telemetry_is_thinned_out_and_keeps_gaps(
    alice: User, job: Workload, client_of: SignIn
) -> None:
    attempt = Attempt.objects.get(workload=job)
    gpu = Gpu.objects.get(allotments__attempt=attempt)
    start = clock.now().replace(microsecond=0) - timedelta(hours=2)
    seconds = [*range(2000), *range(5000, 7000)]
    GpuSample.objects.bulk_create(
        GpuSample(
            attempt=attempt, gpu=gpu, at=start + timedelta(seconds=n),
            utilization_percent=None if n < 100 else 50.0, memory_used_bytes=n,
        )
        for n in seconds
    )  # fmt: skip
    data = client_of(alice).get(f"/jobs/{job.public_id}/telemetry.json").json()
    series = data["gpus"][0]
    assert len(series["at"]) <= 600
    assert series["utilization_percent"][0] is None
    assert series["utilization_percent"][-1] == 50.0
    assert max(b - a for a, b in zip(series["at"], series["at"][1:], strict=False)) >= 2_900_000
