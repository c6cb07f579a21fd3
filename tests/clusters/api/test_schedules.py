"""/api/v1/schedules and /notebook-runs as a developer meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from clusters.control.schedules import launch_scheduled
from clusters.models import Schedule, ScheduleRun, Volume, Workload
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.schedules import make_schedule, make_volume

With = Callable[[User], APIClient]


@pytest.fixture
def volume(actor: Actor, engine: Engine) -> Volume:
    return make_volume(actor)


@pytest.fixture
def body(volume: Volume) -> dict[str, Any]:
    return {
        "name": "daily report",
        "volume": volume.public_id,
        "notebook": "/workspace/reports/daily.ipynb",
        "parameters": {"days": 7, "who": 'Zo\u00eb\'s "team"'},
        "pool": "a100",
        "cron": "0  3 * * 1-5",
        "timezone": "Europe/Berlin",
        "time_limit_seconds": 600,
    }


def post(api: APIClient, path: str, body: dict[str, Any] | None = None) -> Any:
    return api.post(f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json")


def patch(api: APIClient, schedule: str, **changes: Any) -> Any:
    text = json.dumps(changes)
    return api.patch(f"/api/v1/schedules/{schedule}", text, content_type="application/json")


def test_schedule_is_made_and_says_when_it_runs(api: APIClient, body: dict[str, Any]) -> None:
    answer = post(api, "schedules", body)
    made = answer.json()
    assert answer.status_code == 201
    assert (made["notebook"], made["cron"]) == ("reports/daily.ipynb", "0 3 * * 1-5")
    assert made["times_text"] == "At 03:00 on Monday through Friday, Europe/Berlin"
    assert made["is_on"]
    assert len(made["upcoming"]) == 5
    assert made["upcoming"][0] == made["next_at"]
    assert (made["environment"], made["runs_as"]) == ("python-data", "alice@example.org")
    assert api.get("/api/v1/schedules").json()["schedules"] == [made]
    assert api.get(f"/api/v1/schedules/{made['id']}").json() == made


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "Give it a name"),
        ("cron", "every day", "five fields"),
        ("cron", "0 3 * *\u0000 *", "The field for"),
        ("timezone", "Mars/Olympus", "no such time zone"),
        ("volume", "", "Choose the volume"),
        ("volume", "vol_nothing", "no such volume"),
        ("notebook", "", "Say which notebook"),
        ("notebook", "train.py", "ends with .ipynb"),
        ("notebook", "../other/x.ipynb", "without . and .."),
        ("notebook", "/etc/x.ipynb", "mounted at /workspace"),
        ("notebook", "a\nb.ipynb", "plain text on one line"),
        ("notebook", "x" * 600 + ".ipynb", "at most 500"),
        ("output_folder", "a/../..", "without . and .."),
        ("parameters", {"a b": 1}, "no name of a variable"),
        ("parameters", {"class": 1}, "no name of a variable"),
        ("parameters", {"a": "x" * 30_000}, "at most 20,000"),
        ("parameters", {"a": ["\u0000"]}, "NUL character"),
        ("parameters", {"a": "\ud800"}, "not JSON text"),
        ("pool", "nowhere", "no such pool"),
        ("environment", "system", "no Jupyter"),
        ("gpus", 99, "at most 4"),
        ("time_limit_seconds", 1, "at least 10 seconds"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_makes_nothing(
    api: APIClient, body: dict[str, Any], field: str, value: Any, words: str
) -> None:
    for path in ("schedules", "notebook-runs"):
        if path == "notebook-runs" and field in ("cron", "timezone"):
            continue
        answer = post(api, path, body | {field: value})
        assert answer.status_code == 400
        assert words in answer.json()["error"]["fields"][field]
    assert not Schedule.objects.exists()
    assert not Workload.objects.exists()


@pytest.mark.parametrize("text", ['{"a": 1e999}', '{"a": NaN}', '{"a": -Infinity}'])
def test_number_that_is_none_is_refused(api: APIClient, body: dict[str, Any], text: str) -> None:
    whole = json.dumps(body | {"parameters": "HERE"}).replace('"HERE"', text)
    answer = api.post("/api/v1/schedules", whole, content_type="application/json")
    assert answer.status_code == 400


def test_several_wrong_fields_are_all_named(api: APIClient, body: dict[str, Any]) -> None:
    answer = post(api, "schedules", body | {"cron": "x", "notebook": "", "gpus": 99})
    assert set(answer.json()["error"]["fields"]) == {"cron", "notebook", "gpus"}


def test_notebook_runs_once_without_a_schedule(
    api: APIClient, body: dict[str, Any], volume: Volume
) -> None:
    once = {name: value for name, value in body.items() if name not in ("cron", "timezone")}
    answer = post(api, "notebook-runs", once | {"output_folder": "out"})
    job = Workload.objects.get(public_id=answer.json()["id"])
    assert answer.status_code == 201
    assert job.volume == volume
    words = "exec python -m fastgpu.run_notebook --parameters "
    assert job.command.startswith(words)
    assert " -- reports/daily.ipynb out/daily-" in job.command
    assert not Schedule.objects.exists()


def test_same_request_twice_is_made_once(api: APIClient, body: dict[str, Any]) -> None:
    for _ in range(2):
        answer = api.post(
            "/api/v1/schedules",
            json.dumps(body),
            content_type="application/json",
            headers={"Idempotency-Key": "one"},
        )
        assert answer.status_code == 201
    assert Schedule.objects.count() == 1


def test_change_keeps_what_is_not_named(api: APIClient, body: dict[str, Any]) -> None:
    made = post(api, "schedules", body).json()
    changed = patch(api, made["id"], cron="*/5 * * * *", gpus=2).json()
    assert (changed["cron"], changed["gpus"]) == ("*/5 * * * *", 2)
    assert changed["next_at"] < made["next_at"]
    kept = ("parameters", "timezone", "notebook", "skips_while_running", "environment")
    assert [changed[name] for name in kept] == [made[name] for name in kept]
    assert patch(api, made["id"], gpus=99).status_code == 400


def test_pause_resume_run_and_remove(api: APIClient, body: dict[str, Any]) -> None:
    made = post(api, "schedules", body).json()
    path = f"schedules/{made['id']}"
    paused = post(api, f"{path}/pause").json()
    assert (paused["is_on"], paused["next_at"], paused["upcoming"]) == (False, None, [])
    assert post(api, f"{path}/pause").json() == paused
    assert post(api, f"{path}/resume").json() == made
    job = post(api, f"{path}/run")
    assert job.status_code == 201
    again = post(api, f"{path}/run")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    (run,) = api.get(f"/api/v1/{path}/runs").json()["runs"]
    assert (run["job"], run["job_status"], run["is_manual"]) == (job.json()["id"], "queued", True)
    assert run["output"].startswith("reports/daily-")
    assert api.delete(f"/api/v1/{path}").status_code == 204
    assert api.get(f"/api/v1/{path}").status_code == 404
    assert api.get("/api/v1/schedules").json() == {"schedules": []}


def test_run_that_cannot_be_paid_is_refused_and_noted_nowhere(
    charlie: User, engine: Engine, api_of: With
) -> None:
    actor = actor_of_user(charlie)
    schedule = make_schedule(actor, make_volume(actor), run={"gpus": 4, "time_limit_seconds": 3600})
    api = api_of(charlie)
    for _ in range(5):
        post(api, "notebook-runs", _run_body(schedule))
    assert post(api, f"schedules/{schedule.public_id}/run").status_code == 402
    assert not ScheduleRun.objects.exists()


def _run_body(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": "x",
        "volume": schedule.volume.public_id,
        "notebook": "x.ipynb",
        "pool": "a100",
        "gpus": 4,
    }


def test_team_has_so_many_schedules_and_no_more(
    api: APIClient, body: dict[str, Any], actor: Actor, volume: Volume
) -> None:
    made = make_schedule(actor, volume)
    rows = [Schedule.objects.get(pk=made.pk) for _ in range(99)]
    for number, row in enumerate(rows):
        row.pk, row.public_id = None, f"sched_{number}"
    Schedule.objects.bulk_create(rows)
    answer = post(api, "schedules", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many")


# --- rights ---


def test_member_sees_anothers_schedule_and_changes_nothing_of_it(
    actor: Actor, volume: Volume, bob: User, api_of: With
) -> None:
    schedule = make_schedule(actor, volume)
    api, path = api_of(bob), f"schedules/{schedule.public_id}"
    assert api.get(f"/api/v1/{path}").status_code == 200
    assert patch(api, schedule.public_id, gpus=2).status_code == 403
    for verb in ("pause", "resume", "run"):
        assert post(api, f"{path}/{verb}").status_code == 403
    assert api.delete(f"/api/v1/{path}").status_code == 403


def test_owner_who_changes_a_members_schedule_is_whom_it_runs_as(
    api: APIClient, volume: Volume, bob: User, alice: User
) -> None:
    schedule = make_schedule(actor_of_user(bob), volume)
    changed = patch(api, schedule.public_id, notebook="mine.ipynb").json()
    assert (changed["runs_as"], changed["created_by"]) == (alice.email, bob.email)


def test_member_changes_their_own(volume: Volume, bob: User, api_of: With) -> None:
    schedule = make_schedule(actor_of_user(bob), volume)
    assert patch(api_of(bob), schedule.public_id, gpus=2).status_code == 200


def test_another_teams_schedule_is_not_there(
    actor: Actor, volume: Volume, charlie: User, api_of: With
) -> None:
    schedule = make_schedule(actor, volume)
    api = api_of(charlie)
    assert api.get(f"/api/v1/schedules/{schedule.public_id}").status_code == 404
    assert patch(api, schedule.public_id, gpus=2).status_code == 404
    assert api.get("/api/v1/schedules").json() == {"schedules": []}


def test_another_teams_volume_cannot_be_read(
    body: dict[str, Any], charlie: User, api_of: With
) -> None:
    assert post(api_of(charlie), "schedules", body).status_code == 400


# --- size ---


def test_list_asks_a_fixed_number_of_questions(
    api: APIClient, actor: Actor, volume: Volume
) -> None:
    def asked() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            api.get("/api/v1/schedules")
        return len(queries)

    first = make_schedule(actor, volume)
    Schedule.objects.update(next_at=clock.now())
    launch_scheduled(first.pk)
    api.get("/api/v1/schedules")  # the key's use is noted once a minute
    before = asked()
    for _ in range(5):
        make_schedule(actor, volume)
    assert asked() == before
    assert before <= 4
