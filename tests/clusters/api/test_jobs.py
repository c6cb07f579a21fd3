"""/api/v1/jobs and /pools as a developer meets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.actor import Actor
from accounts.models import User
from billing.models import Hold
from clusters.backends.base import EndReason
from clusters.models import Attempt, Workload
from clusters.models import Engine as EngineRow
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import make_volume

BODY: dict[str, Any] = {
    "name": "digits",
    "pool": "a100",
    "gpus": 1,
    "environment": "python-data",
    "command": "python train.py",
    "env": {"EPOCHS": "3"},
    "time_limit_seconds": 600,
}


def body_of(response: Any) -> bytes:
    """What a response streams, as the server would read it."""

    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return asyncio.run(read())


def post(api: APIClient, **changes: Any) -> Any:
    # json.dumps escapes what is not ASCII, so that lone surrogates reach the server too.
    body = json.dumps({**BODY, **changes})
    return api.post("/api/v1/jobs", body, content_type="application/json")


def test_a_launch_answers_201_with_the_job(api: APIClient, engine: Engine) -> None:
    answer = post(api)
    assert answer.status_code == 201
    job = answer.json()
    assert job["status"] == "queued"
    assert job["queue_position"] == 1
    assert job["price_micros_per_gpu_hour"] == 2_100_000
    assert job["env"] == {"EPOCHS": "3"}


def test_its_cost_is_price_times_seconds(api: APIClient, engine: Engine) -> None:
    job = post(api, gpus=2).json()
    drive_pool(engine.pool.pk)
    engine.backend.end(Attempt.objects.get().external_name, EndReason.COMPLETED)
    tick()
    seen = api.get(f"/api/v1/jobs/{job['id']}").json()
    microseconds = round(seen["billed_seconds"] * 1_000_000)
    assert seen["status"] == "succeeded"
    assert seen["cost_micros"] == 2_100_000 * 2 * microseconds // 3_600_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpus", 0),
        ("gpus", -1),
        ("gpus", 99),
        ("gpus", "two"),
        ("gpus", True),
        ("gpus", 10**30),
        ("gpus", None),
        ("pool", "no-such-pool"),
        ("pool", ""),
        ("pool", "a\0b"),
        ("command", ""),
        ("command", "   "),
        ("command", "x" * 200_000),
        ("command", "echo a\0b"),
        ("command", 7),
        ("command", "\ud800"),
        ("name", ""),
        ("name", "<b>bold</b>"),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("environment", "no-such"),
        ("time_limit_seconds", 365 * 24 * 3600),
        ("time_limit_seconds", 0),
        ("time_limit_seconds", -5),
        ("time_limit_seconds", 1.5),
        ("env", {"A B": "1"}),
        ("env", {"A": "nul\0"}),
        ("env", {"FASTGPU_RUN_ID": "x"}),
        ("env", ["A=1"]),
        ("env", {"A": 1}),
    ],
)
def test_bad_input_names_its_field_and_makes_nothing(
    api: APIClient, engine: Engine, field: str, value: Any
) -> None:
    answer = post(api, **{field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "fields"}
    assert any(name.split(".")[0] == field for name in error["fields"])
    assert not Workload.objects.exists()
    assert not Hold.objects.exists()


def test_several_wrong_fields_are_all_named(api: APIClient, engine: Engine) -> None:
    fields = post(api, name="<i>", command="", gpus=50).json()["error"]["fields"]
    assert {"name", "command", "gpus"} <= set(fields)


def test_no_funds_is_402_and_makes_nothing(api: APIClient, engine: Engine) -> None:
    for _ in range(5):
        assert post(api, gpus=4, time_limit_seconds=3600).status_code == 201
    answer = post(api, gpus=4, time_limit_seconds=3600)
    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "insufficient_funds"
    assert Workload.objects.count() == 5


def test_a_malformed_body_is_400(api: APIClient, engine: Engine) -> None:
    answer = api.post("/api/v1/jobs", b'{"name": ', content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")


@pytest.mark.parametrize("body", [b"[]", b"3", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_body_of_another_shape_is_400(api: APIClient, engine: Engine, body: bytes) -> None:
    answer = api.post("/api/v1/jobs", body, content_type="application/json")
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_wrong_method_is_405_in_our_shape(api: APIClient, engine: Engine) -> None:
    answer = api.delete("/api/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_an_unknown_route_is_404_in_our_shape(api: APIClient, db: None) -> None:
    answer = api.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_another_teams_job_is_404(
    api: APIClient, engine: Engine, charlie: User, api_of: Callable[[User], APIClient]
) -> None:
    job = post(api).json()["id"]
    stranger = api_of(charlie)
    assert stranger.get(f"/api/v1/jobs/{job}").status_code == 404
    assert stranger.post(f"/api/v1/jobs/{job}/cancel").status_code == 404
    assert stranger.get(f"/api/v1/jobs/{job}/logs").status_code == 404
    assert stranger.get("/api/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic abc", "Bearer ü"])
def test_without_a_key_it_is_401(db: None, header: str) -> None:
    answer = APIClient().get("/api/v1/jobs", HTTP_AUTHORIZATION=header)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")


def test_the_same_idempotency_key_launches_once(api: APIClient, engine: Engine) -> None:
    first = api.post("/api/v1/jobs", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    second = api.post("/api/v1/jobs", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Workload.objects.count() == 1


def test_the_same_key_for_another_request_is_409(api: APIClient, engine: Engine) -> None:
    api.post("/api/v1/jobs", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    other = api.post("/api/v1/jobs", {**BODY, "gpus": 2}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert other.status_code == 409


def test_a_refusal_is_not_remembered(api: APIClient, engine: Engine) -> None:
    api.post("/api/v1/jobs", {**BODY, "gpus": 0}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    again = api.post("/api/v1/jobs", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert again.status_code == 201


def test_the_list_filters_by_status_and_pages(api: APIClient, engine: Engine) -> None:
    ids = [post(api, time_limit_seconds=60).json()["id"] for _ in range(3)]
    listed = api.get("/api/v1/jobs?status=queued").json()["jobs"]
    assert [job["id"] for job in listed] == ids[::-1]
    assert api.get("/api/v1/jobs?status=running").json()["jobs"] == []
    assert api.get("/api/v1/jobs?status=nonsense").status_code == 400
    older = api.get(f"/api/v1/jobs?before={ids[2]}").json()["jobs"]
    assert [job["id"] for job in older] == ids[1::-1]


def test_the_log_is_read_by_offset(api: APIClient, engine: Engine) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    name = Attempt.objects.get().external_name
    engine.backend.logs[name] = b"one\ntwo\n"
    first = api.get(f"/api/v1/jobs/{job}/logs?offset=4").json()
    assert first == {
        "attempt": 1, "offset": 4, "next_offset": 8, "complete": False, "text": "two\n",
    }  # fmt: skip
    engine.backend.end(name, EndReason.COMPLETED)
    tick()
    assert api.get(f"/api/v1/jobs/{job}/logs?offset=8").json()["complete"] is True


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "9" * 30])
def test_a_bad_offset_is_400(api: APIClient, engine: Engine, offset: str) -> None:
    job = post(api).json()["id"]
    assert api.get(f"/api/v1/jobs/{job}/logs?offset={offset}").status_code == 400


def test_pools_show_price_and_what_is_free(api: APIClient, engine: Engine) -> None:
    post(api, gpus=3)
    drive_pool(engine.pool.pk)
    shown = api.get("/api/v1/pools").json()
    assert [
        (p["slug"], p["gpus"], p["gpus_free"], p["price_micros_per_gpu_hour"]) for p in shown
    ] == [("a100", 4, 1, 2_100_000)]


def test_cancelling_an_ended_job_is_409(api: APIClient, engine: Engine) -> None:
    job = post(api).json()["id"]
    assert api.post(f"/api/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert api.post(f"/api/v1/jobs/{job}/cancel").status_code == 409


def test_the_list_costs_the_same_queries_for_1_and_20_jobs(
    api: APIClient, engine: Engine, django_assert_num_queries: Any
) -> None:
    post(api, time_limit_seconds=60)
    with CaptureQueriesContext(connection) as one:
        api.get("/api/v1/jobs")
    count = len(one)  # read at once: the next request empties the log behind it
    for _ in range(19):
        post(api, time_limit_seconds=60)
    with django_assert_num_queries(count):
        api.get("/api/v1/jobs")


def test_a_volume_is_asked_for_by_its_id(api: APIClient, actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor)
    made = post(api, volume=volume.public_id).json()
    assert made["volume"] == volume.public_id
    assert api.get(f"/api/v1/jobs/{made['id']}").json()["volume"] == volume.public_id
    assert post(api).json()["volume"] is None


def test_a_volume_that_is_none_names_its_field(api: APIClient, engine: Engine) -> None:
    answer = post(api, volume="vol_nothing")
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {"volume"})


# --- attempts ---


def lose(engine: Engine, number: int = 1) -> None:
    """The machine of the attempt goes away; the next attempt starts."""
    engine.backend.end(Attempt.objects.get(number=number).external_name, EndReason.NODE_LOST)
    tick()


def test_a_launch_takes_nodes_and_retries(api: APIClient, engine: Engine) -> None:
    job = post(api, retries=3).json()
    assert (job["nodes"], job["retries"], job["attempt"]) == (1, 3, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nodes", 0),
        ("nodes", 2),
        ("nodes", "one"),
        ("nodes", True),
        ("nodes", 10**30),
        ("retries", -1),
        ("retries", 11),
        ("retries", 1.5),
        ("retries", None),
    ],
)
def test_bad_nodes_and_retries_name_their_field(
    api: APIClient, engine: Engine, field: str, value: Any
) -> None:
    answer = post(api, **{field: value})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]
    assert not Workload.objects.exists()


def test_a_job_tells_every_attempt_and_what_it_cost(api: APIClient, engine: Engine) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    lose(engine)
    engine.backend.end(Attempt.objects.get(number=2).external_name, EndReason.COMPLETED)
    tick()
    seen = api.get(f"/api/v1/jobs/{job}").json()
    first, second = seen["attempts"]
    assert (first["number"], first["state"], first["reason"]) == (1, "ended", "node_lost")
    assert first["reason_text"] == "The machine it ran on went away."
    assert (first["node"], second["exit_code"]) == ("fake-1", 0)
    assert first["cost_micros"] + second["cost_micros"] == seen["cost_micros"]
    assert seen["attempt"] == 2


def test_the_list_leaves_attempts_out(api: APIClient, engine: Engine) -> None:
    post(api)
    listed = api.get("/api/v1/jobs").json()["jobs"][0]
    assert "attempts" not in listed
    assert listed["attempt"] == 1


def test_the_log_of_an_older_attempt_can_be_read(api: APIClient, engine: Engine) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    engine.backend.logs[Attempt.objects.get().external_name] = b"one\n"
    lose(engine)
    first = api.get(f"/api/v1/jobs/{job}/logs?attempt=1").json()
    latest = api.get(f"/api/v1/jobs/{job}/logs").json()
    assert (first["attempt"], first["text"], first["complete"]) == (1, "one\n", True)
    assert (latest["attempt"], latest["text"], latest["complete"]) == (2, "", False)


@pytest.mark.parametrize(("attempt", "status"), [("2", 404), ("0", 404), ("x", 400), ("-1", 400)])
def test_an_attempt_that_is_none_is_refused(
    api: APIClient, engine: Engine, attempt: str, status: int
) -> None:
    job = post(api).json()["id"]
    answer = api.get(f"/api/v1/jobs/{job}/logs?attempt={attempt}")
    assert answer.status_code == status


def test_a_silent_engine_makes_a_job_unknown_and_nothing_else(
    api: APIClient, engine: Engine
) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    engine.backend.is_down = True
    tick()
    EngineRow.objects.update(failing_since=clock.now() - timedelta(minutes=1))
    seen = api.get(f"/api/v1/jobs/{job}").json()
    assert (seen["status"], seen["is_unknown"]) == ("running", True)
    assert datetime.fromisoformat(seen["unknown_since"]) == EngineRow.objects.get().failing_since
    engine.backend.is_down = False
    tick()
    known = api.get(f"/api/v1/jobs/{job}").json()
    assert (known["is_unknown"], known["unknown_since"]) == (False, None)


def test_files_of_an_attempt_are_listed_and_fetched(api: APIClient, engine: Engine) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    engine.backend.files[Attempt.objects.get().external_name] = {"out/model.bin": b"abc"}
    lose(engine)
    listed = api.get(f"/api/v1/jobs/{job}/files?attempt=1").json()
    fetched: Any = api.get(f"/api/v1/jobs/{job}/files/out/model.bin?attempt=1")
    assert (listed["attempt"], listed["more"]) == (1, 0)
    assert [(file["path"], file["size_bytes"]) for file in listed["files"]] == [
        ("out/model.bin", 3)
    ]
    assert body_of(fetched) == b"abc"
    assert fetched["Content-Disposition"] == 'attachment; filename="model.bin"'


@pytest.mark.parametrize("path", ["nothing", "../log", "a%00b", "out", "model.bin?attempt=7"])
def test_what_is_no_file_is_404(api: APIClient, engine: Engine, path: str) -> None:
    job = post(api).json()["id"]
    drive_pool(engine.pool.pk)
    assert api.get(f"/api/v1/jobs/{job}/files/{path}").status_code == 404
