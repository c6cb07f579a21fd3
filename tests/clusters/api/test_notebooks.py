"""/api/v1/notebooks as a developer meets it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import IdempotencyRecord, User
from billing.models import Hold
from clusters.access import may_open
from clusters.actions.notebook_shares import follow_share
from clusters.api.workloads import PAGE_SIZE
from clusters.choices import Service
from clusters.models import AppSession, Notebook, NotebookShare, Workload, WorkloadEvent
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.notebooks import launched, make_volume, running, starting, stopped

URL = "/api/v1/notebooks"
BODY: dict[str, Any] = {"name": "explore", "pool": "a100", "gpus": 1, "idle_minutes": 30}


def post(api: APIClient, **changes: Any) -> Any:
    return api.post(URL, {**BODY, **changes}, format="json")


def at(notebook: Workload, part: str = "") -> str:
    return f"{URL}/{notebook.public_id}{part}"


# --- launch, list, look ---


def test_a_launch_answers_201_with_the_notebook(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    soon = (clock.now() + timedelta(hours=3)).replace(microsecond=0)
    answer = post(api, volume=volume.public_id, stop_at=soon.isoformat(), lifetime_seconds=7200)
    made = answer.json()
    assert answer.status_code == 201
    assert (made["status"], made["queue_position"], made["attempt"]) == ("queued", 1, 1)
    assert (made["idle_minutes"], made["lifetime_seconds"]) == (30, 7200)
    assert datetime.fromisoformat(made["stop_at"]) == soon
    assert (made["volume"], made["environment"]) == (volume.public_id, "python-data")
    assert made["url"].endswith(f"/open/{made['id'].replace('_', '-')}/")
    assert made["is_ready"] is False
    assert len(made["attempts"]) == 1


def test_it_is_ready_when_its_server_answers(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = starting(actor)
    seen = api.get(at(notebook)).json()
    assert (seen["status"], seen["reason"], seen["is_ready"]) == (
        "running", "server_starting", False,
    )  # fmt: skip
    assert api.get(at(running(actor, name="another"))).json()["is_ready"] is True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", 7),
        ("pool", "nowhere"),
        ("gpus", 0),
        ("gpus", 5),
        ("gpus", "1"),
        ("environment", "system"),
        ("volume", "vol_nothing"),
        ("volume", None),
        ("idle_minutes", 1),
        ("idle_minutes", -1),
        ("idle_minutes", 1.5),
        ("idle_minutes", "30"),
        ("lifetime_seconds", 0),
        ("lifetime_seconds", 365 * 24 * 3600),
        ("stop_at", "soon"),
        ("stop_at", 7),
        ("stop_at", "2020-01-01T00:00:00Z"),
        ("stop_at", "0001-01-01T00:00:00+14:00"),
        ("project", "x" * 61),
        ("max_cost_micros", -1),
    ],
)
def test_bad_input_names_its_field_and_makes_nothing(
    api: APIClient, engine: Engine, field: str, value: Any
) -> None:
    answer = post(api, **{field: value})
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {field})
    assert not Workload.objects.exists()
    assert not Hold.objects.exists()


def test_no_funds_is_402_and_makes_nothing(api: APIClient, actor: Actor, engine: Engine) -> None:
    for _ in range(5):
        launched(actor, gpus=4)
    answer = post(api, gpus=4)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_funds")
    assert Workload.objects.count() == 5


def test_the_same_idempotency_key_launches_once(api: APIClient, engine: Engine) -> None:
    first = api.post(URL, BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    second = api.post(URL, BODY, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Workload.objects.count() == 1


def test_the_list_filters_by_status_and_pages(api: APIClient, engine: Engine) -> None:
    ids = [post(api, lifetime_seconds=60).json()["id"] for _ in range(3)]
    listed = api.get(f"{URL}?status=queued").json()
    assert [one["id"] for one in listed["notebooks"]] == ids[::-1]
    assert listed["next"] is None
    assert api.get(f"{URL}?status=running").json()["notebooks"] == []
    assert api.get(f"{URL}?status=nonsense").status_code == 400
    older = api.get(f"{URL}?before={ids[2]}").json()["notebooks"]
    assert [one["id"] for one in older] == ids[1::-1]
    assert api.get(f"{URL}?before=nb_nothing").status_code == 404


def test_the_list_goes_on_where_its_page_ended(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    ids = [launched(actor, lifetime_seconds=60).public_id for _ in range(PAGE_SIZE + 1)]
    first = api.get(URL).json()
    assert (len(first["notebooks"]), first["next"]) == (PAGE_SIZE, ids[1])
    rest = api.get(f"{URL}?before={first['next']}").json()
    assert ([one["id"] for one in rest["notebooks"]], rest["next"]) == ([ids[0]], None)


def test_jobs_are_no_notebooks(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = launched(actor)
    assert api.get(f"/api/v1/jobs/{notebook.public_id}").status_code == 404
    assert api.post(f"/api/v1/jobs/{notebook.public_id}/cancel").status_code == 404
    assert api.get("/api/v1/jobs").json()["jobs"] == []


# --- queries ---


def counted(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert ask().status_code < 300
    return len(queries)


def test_the_list_costs_the_same_queries_for_1_and_20_notebooks(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    launched(actor, lifetime_seconds=60)
    api.get(URL)  # the key is noted as used
    one = counted(lambda: api.get(URL))
    for _ in range(19):
        launched(actor, lifetime_seconds=60)
    assert counted(lambda: api.get(URL)) == one
    assert one <= 8


def test_one_costs_a_fixed_number_of_queries(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    assert counted(lambda: api.get(at(notebook))) <= 7


def test_the_timeline_costs_three_queries(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    api.get(at(notebook))  # the key is noted as used
    assert counted(lambda: api.get(at(notebook, "/events"))) <= 4


# --- verbs ---


def test_it_is_stopped_and_started_again(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    assert api.post(at(notebook, "/stop")).json()["status"] == "stopping"
    rests = stopped(actor, engine, name="rests")
    started = api.post(at(rests, "/start")).json()
    assert (started["status"], started["attempt"]) == ("queued", 2)
    assert api.post(at(rests, "/start")).json()["attempt"] == 2


def test_stopping_what_rests_is_409(api: APIClient, actor: Actor, engine: Engine) -> None:
    answer = api.post(at(stopped(actor, engine), "/stop"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def test_a_start_asked_for_twice_under_one_key_answers_the_same(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    rests = stopped(actor, engine)
    first = api.post(at(rests, "/start"), HTTP_IDEMPOTENCY_KEY="k1")
    second = api.post(at(rests, "/start"), HTTP_IDEMPOTENCY_KEY="k1")
    assert first.json() == second.json()


def test_keep_sends_the_countdown_away(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    Notebook.objects.update(stops_at=clock.now(), stops_for="idle")
    assert api.get(at(notebook)).json()["stops_for"] == "idle"
    kept = api.post(at(notebook, "/keep")).json()
    assert (kept["stops_at"], kept["stops_for"]) == (None, "")
    assert datetime.fromisoformat(kept["keep_until"]) > clock.now()


def test_a_change_leaves_what_it_does_not_name(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    soon = clock.now() + timedelta(hours=1)
    notebook = running(actor, stop_at=soon, idle_minutes=30)
    changed = api.patch(at(notebook), {"idle_minutes": 0}, format="json").json()
    assert changed["idle_minutes"] == 0
    assert datetime.fromisoformat(changed["stop_at"]) == soon
    changed = api.patch(at(notebook), {"stop_at": None}, format="json").json()
    assert (changed["idle_minutes"], changed["stop_at"]) == (0, None)


def test_a_time_to_stop_that_has_passed_does_not_keep_from_changing_the_rest(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    Notebook.objects.update(stop_at=clock.now() - timedelta(hours=1))
    answer = api.patch(at(notebook), {"idle_minutes": 60}, format="json")
    assert (answer.status_code, answer.json()["stop_at"]) == (200, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("idle_minutes", 2), ("idle_minutes", None), ("idle_minutes", "x"), ("stop_at", "2020-01-01")],
)
def test_a_change_that_makes_no_sense_names_its_field(
    api: APIClient, actor: Actor, engine: Engine, field: str, value: Any
) -> None:
    notebook = running(actor, idle_minutes=30)
    answer = api.patch(at(notebook), {field: value}, format="json")
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {field})
    assert Notebook.objects.get().idle_minutes == 30


def test_what_rests_is_removed_and_what_runs_is_not(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    assert api.delete(at(notebook)).status_code == 409
    rests = stopped(actor, engine, name="rests")
    assert api.delete(at(rests)).status_code == 204
    assert api.get(at(rests)).status_code == 404
    assert [one["id"] for one in api.get(URL).json()["notebooks"]] == [notebook.public_id]


# --- the timeline ---


def test_the_timeline_is_read_from_a_number_on(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    notebook = starting(actor)
    seen = api.get(at(notebook, "/events")).json()
    assert [event["reason"] for event in seen["events"]] == [
        "waiting_for_gpus", "starting", "server_starting",
    ]  # fmt: skip
    assert seen["events"][0]["actor"] == "alice@example.org"
    assert seen["next"] == seen["events"][-1]["id"]
    assert api.get(at(notebook, f"/events?after={seen['next']}")).json() == {
        "events": [], "next": seen["next"],
    }  # fmt: skip
    first = seen["events"][0]["id"]
    later = api.get(at(notebook, f"/events?after={first}")).json()["events"]
    assert later == seen["events"][1:]


def test_a_long_timeline_is_read_in_pieces(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = launched(actor)
    WorkloadEvent.objects.bulk_create(
        WorkloadEvent(workload=notebook, status="queued", reason="retrying") for _ in range(250)
    )
    first = api.get(at(notebook, "/events")).json()
    rest = api.get(at(notebook, f"/events?after={first['next']}")).json()
    assert (len(first["events"]), len(rest["events"])) == (200, 51)


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 30])
def test_a_number_that_is_none_is_400(
    api: APIClient, actor: Actor, engine: Engine, after: str
) -> None:
    assert api.get(at(launched(actor), f"/events?after={after}")).status_code == 400


# --- who and what gets in ---


def test_a_token_for_programs_is_answered_once_and_kept_nowhere(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    answer = api.post(at(notebook, "/access"), HTTP_IDEMPOTENCY_KEY="k1")
    grant = answer.json()
    assert answer.status_code == 201
    assert set(grant) == {"url", "token", "expires_at"}
    assert grant["url"].endswith(f"{notebook.public_id.replace('_', '-')}.apps.localhost:8001")
    assert not IdempotencyRecord.objects.exists()
    assert grant["token"] not in map(str, AppSession.objects.values().get().values())


def test_ones_own_tokens_are_ended(api: APIClient, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    api.post(at(notebook, "/access"))
    assert api.delete(at(notebook, "/access")).status_code == 204
    assert AppSession.objects.get().ended_at is not None


def test_what_does_not_run_has_no_token(api: APIClient, actor: Actor, engine: Engine) -> None:
    assert api.post(at(stopped(actor, engine), "/access")).status_code == 409


def test_a_link_is_made_listed_and_revoked(
    api: APIClient, actor: Actor, engine: Engine, bob: User
) -> None:
    notebook, guest = running(actor), actor_of_user(bob)
    made = api.post(at(notebook, "/shares"))
    link = made.json()
    assert made.status_code == 201
    follow_share(guest, link["url"].rstrip("/").rsplit("/", 1)[1])
    (listed,) = api.get(at(notebook, "/shares")).json()["shares"]
    assert (listed["id"], listed["guests"]) == (link["id"], ["bob@example.org"])
    assert "url" not in listed
    assert api.delete(at(notebook, f"/shares/{link['id']}")).status_code == 204
    assert not may_open(guest, notebook, Service.LAB)
    assert api.delete(at(notebook, f"/shares/{link['id']}")).status_code == 404
    assert api.get(at(notebook, "/shares")).json()["shares"] == []


# --- whose it is ---

PARTS = [
    ("get", ""),
    ("patch", ""),
    ("delete", ""),
    ("post", "/start"),
    ("post", "/stop"),
    ("post", "/keep"),
    ("get", "/events"),
    ("post", "/access"),
    ("delete", "/access"),
    ("get", "/shares"),
    ("post", "/shares"),
    ("delete", "/shares/share_1"),
]


@pytest.mark.parametrize(("method", "part"), PARTS)
def test_another_teams_is_404(
    actor: Actor,
    engine: Engine,
    charlie: User,
    api_of: Callable[[User], APIClient],
    method: str,
    part: str,
) -> None:
    notebook = running(actor)
    answer = getattr(api_of(charlie), method)(at(notebook, part), {}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_another_members_is_seen_and_not_touched(
    actor: Actor, engine: Engine, bob: User, api_of: Callable[[User], APIClient]
) -> None:
    notebook, theirs = running(actor), api_of(bob)
    seen = {part: getattr(theirs, method)(at(notebook, part)).status_code for method, part in PARTS}
    assert seen == {
        "": 403, "/start": 403, "/stop": 403, "/keep": 403, "/events": 200, "/access": 204,
        "/shares": 403, "/shares/share_1": 403,
    }  # fmt: skip
    assert theirs.get(at(notebook)).status_code == 200
    assert theirs.post(at(notebook, "/access")).status_code == 403
    assert not NotebookShare.objects.exists()


def test_what_its_server_prints_is_read_on_from_an_offset(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    (attempt,) = notebook.attempts.all()
    engine.backend.logs[attempt.external_name] = b"no module named jupyterlab\n"
    whole = api.get(at(notebook, "/logs")).json()
    assert (whole["attempt"], whole["text"]) == (1, "no module named jupyterlab\n")
    assert api.get(at(notebook, "/logs?offset=10")).json()["text"] == "named jupyterlab\n"
    assert api.get(at(notebook, f"/logs?offset={whole['next_offset']}")).json()["text"] == ""
    assert api.get(at(notebook, "/logs?offset=-1")).status_code == 400
