"""What a job's page says of retries, attempts and engines that do not answer."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.backends.base import EndReason
from clusters.choices import AttemptState
from clusters.models import Attempt, Workload
from clusters.models import Engine as EngineRow
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick

SignIn = Callable[[User], Client]
REQUEST = JobRequest("digits", "a100", 1, "python train.py", time_limit_seconds=3600, retries=2)


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs its first attempt."""
    made = launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    return made


@pytest.fixture
def page(alice: User, job: Workload, client_of: SignIn) -> Callable[..., str]:
    """A part of the job's page as text: tags and runs of white space left out."""
    client = client_of(alice)

    def text(part: str = "status/") -> str:
        response = client.get(f"/jobs/{job.public_id}/{part}")
        assert response.status_code == 200
        bare = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
        return re.sub(r"\s+([.,])", r"\1", re.sub(r"\s+", " ", bare))

    return text


def name_of(job: Workload, number: int) -> str:
    return Attempt.objects.get(workload=job, number=number).external_name


def end(engine: Engine, job: Workload, reason: EndReason, *, code: int = 1) -> None:
    """The live attempt ends so."""
    live = Attempt.objects.exclude(state=AttemptState.ENDED).get(workload=job)
    engine.backend.end(live.external_name, reason, exit_code=code)
    tick()


def body_of(response: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return asyncio.run(read())


def let_retries_start() -> None:
    """As if their time to wait were over."""
    Attempt.objects.update(not_before=None)
    tick()


# --- retries ---


def test_a_second_attempt_says_why_there_is_one(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    text = page()
    assert "Running Attempt 2" in text
    assert "Run again: the machine it ran on went away." in text


def test_a_retry_that_is_held_back_says_when_it_starts(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.NODE_LOST)
    assert re.search(
        r"Queued again \(attempt 3\): the machine it ran on went away\..* Starts in 1\d s\.", page()
    )


def test_a_retry_without_room_waits_for_gpus(
    actor: Actor, engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.NODE_LOST)
    launch(actor, replace(REQUEST, gpus=4))
    drive_pool(engine.pool.pk)
    let_retries_start()
    text = page()
    assert "Queued again (attempt 3)" in text
    assert "Waiting for free GPUs. Next in the queue." in text


def test_nothing_ticks_while_a_retry_waits(
    alice: User, engine: Engine, job: Workload, client_of: SignIn
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.NODE_LOST)
    part = client_of(alice).get(f"/jobs/{job.public_id}/status/").content.decode()
    listed = client_of(alice).get("/jobs/").content.decode()
    assert "data-from" not in part
    assert "data-rate-micros" not in part
    assert "data-rate-micros" not in listed


def test_a_run_out_of_retries_tells_how_often_it_was_run(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    for _ in range(3):
        end(engine, job, EndReason.USER_ERROR, code=3)
        let_retries_start()
    text = page()
    assert "The command ended with an error. Exit code 3. It was run 3 times." in text
    assert "Run again: retry 1 of 2" in text
    assert "Run again: retry 2 of 2" in text
    assert "No retries left" in text


def test_exit_code_75_is_told_as_what_it_asks_for(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.USER_ERROR, code=75)
    assert "Asked to be run again Exit code 75 asks for that." in page()


def test_the_timeline_shows_each_retry(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.GPU_FAILED)
    assert "Queued again" in page()
    assert "Attempt 2 follows: a GPU it ran on failed." in page()


def test_the_costs_of_attempts_add_up_to_the_cost_of_the_run(
    alice: User, engine: Engine, job: Workload, client_of: SignIn
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    end(engine, job, EndReason.COMPLETED, code=0)
    context = client_of(alice).get(f"/jobs/{job.public_id}/").context
    parts = [row.facts.cost_micros for row in context["rows"]]
    assert len(parts) == 2
    assert sum(parts) == context["detail"].cost.total_micros > 0


def test_where_a_run_was_retried_its_checkpoint_folder_is_explained(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    end(engine, job, EndReason.NODE_LOST)
    assert "A run that is retried continues from its checkpoint folder" in page()


def test_a_run_of_very_many_attempts_is_shown_shortened(
    alice: User, engine: Engine, job: Workload, client_of: SignIn
) -> None:
    for _ in range(12):
        end(engine, job, EndReason.NODE_LOST)
        let_retries_start()
    context = client_of(alice).get(f"/jobs/{job.public_id}/").context
    assert len(context["rows"]) == 13
    assert [step["title"] for step in context["steps"]][:2] == ["Queued", "15 more steps"]
    assert len(context["choice"]) == 6


def test_a_page_costs_the_same_queries_for_1_and_5_attempts(
    alice: User, engine: Engine, job: Workload, client_of: SignIn
) -> None:
    client = client_of(alice)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/jobs/{job.public_id}/")
        return len(queries)

    count()  # what is cached for every page
    one = count()
    for _ in range(4):
        end(engine, job, EndReason.NODE_LOST)
        let_retries_start()
    assert count() == one


# --- an older attempt ---


@pytest.fixture
def lost(engine: Engine, job: Workload) -> Workload:
    """A job of two attempts that both have printed and written."""
    engine.backend.logs[name_of(job, 1)] = b"first\n"
    engine.backend.files[name_of(job, 1)] = {"first.bin": b"1"}
    end(engine, job, EndReason.NODE_LOST)
    engine.backend.logs[name_of(job, 2)] = b"second\n"
    engine.backend.files[name_of(job, 2)] = {"second.bin": b"2"}
    return job


def test_the_latest_attempts_log_and_files_are_shown(
    alice: User, lost: Workload, client_of: SignIn
) -> None:
    client = client_of(alice)
    log = client.get(f"/jobs/{lost.public_id}/log")
    assert (log.content, log["X-Attempt"]) == (b"second\n", "2")
    assert b"second.bin" in client.get(f"/jobs/{lost.public_id}/files/").content


def test_an_older_attempt_keeps_its_log_and_files(
    alice: User, lost: Workload, client_of: SignIn
) -> None:
    client, url = client_of(alice), f"/jobs/{lost.public_id}"
    log = client.get(f"{url}/log?attempt=1")
    listed = client.get(f"{url}/files/?attempt=1").content.decode()
    assert (log.content, log["X-Complete"]) == (b"first\n", "true")
    assert body_of(client.get(f"{url}/log/download?attempt=1")) == b"first\n"
    assert f"{url}/files/first.bin?attempt=1" in listed
    assert body_of(client.get(f"{url}/files/first.bin?attempt=1")) == b"1"
    assert client.get(f"{url}/files/first.bin").status_code == 404


def test_while_a_retry_waits_the_log_of_the_attempt_before_stays(
    alice: User, engine: Engine, lost: Workload, client_of: SignIn
) -> None:
    end(engine, lost, EndReason.NODE_LOST)
    log = client_of(alice).get(f"/jobs/{lost.public_id}/log")
    assert (log.content, log["X-Complete"]) == (b"second\n", "false")


@pytest.mark.parametrize("part", ["", "status/", "log", "log/download", "files/", "telemetry.json"])
@pytest.mark.parametrize(("asked", "status"), [("3", 404), ("0", 404), ("x", 400), ("9" * 30, 400)])
def test_an_attempt_that_is_none_is_refused(
    alice: User, lost: Workload, client_of: SignIn, part: str, asked: str, status: int
) -> None:
    response = client_of(alice).get(f"/jobs/{lost.public_id}/{part}", {"attempt": asked})
    assert response.status_code == status


def test_the_page_of_an_older_attempt_follows_its_log(
    alice: User, lost: Workload, client_of: SignIn
) -> None:
    page = client_of(alice).get(f"/jobs/{lost.public_id}/?attempt=1").content.decode()
    assert f'data-socket="/ws/jobs/{lost.public_id}/?chosen=1"' in page
    assert f"/jobs/{lost.public_id}/files/?attempt=1" in page


# --- an engine that does not answer ---


def silent_for(engine: Engine, **ago: int) -> None:
    """The engine has not answered for so long."""
    engine.backend.is_down = True
    tick()
    EngineRow.objects.update(failing_since=clock.now() - timedelta(**ago))


def test_a_run_that_is_not_seen_says_so_and_goes_on(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    silent_for(engine, minutes=3)
    since = EngineRow.objects.get().failing_since
    text = page()
    assert f"Not seen since {since:%H:%M:%S} UTC: the cluster does not answer." in text
    assert "Your run goes on; nothing is stopped or failed because of that." in text
    assert text.index("Running") < text.index("Not seen")


def test_one_look_that_failed_is_no_news(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    silent_for(engine, seconds=5)
    assert "Not seen" not in page()


def test_a_run_its_engine_does_not_list_is_looked_for(
    engine: Engine, job: Workload, page: Callable[..., str]
) -> None:
    del engine.backend.seen[name_of(job, 1)]
    tick()
    Attempt.objects.update(missing_since=clock.now() - timedelta(seconds=30))
    text = page()
    assert "the cluster answers, but does not list it." in text
    assert "only then it counts as lost and is run again." in text


def test_what_has_ended_is_known(engine: Engine, job: Workload, page: Callable[..., str]) -> None:
    end(engine, job, EndReason.COMPLETED, code=0)
    silent_for(engine, minutes=3)
    assert "Not seen" not in page()


def test_the_list_marks_what_is_not_seen(
    alice: User, engine: Engine, job: Workload, client_of: SignIn
) -> None:
    silent_for(engine, minutes=3)
    assert "Not seen" in client_of(alice).get("/jobs/").content.decode()
