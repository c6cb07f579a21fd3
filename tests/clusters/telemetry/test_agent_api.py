"""POST /api/v1/agent/samples"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient, APIRequestFactory

from accounts.actor import Actor
from accounts.models import User
from clusters.api.agent import AgentSamplesView
from clusters.models import GpuSample
from fastgpu.agent.cli import letter_body
from fastgpu.agent.readings import GpuReading
from tests.clusters.telemetry.test_ingest import run
from tests.conftest import Engine

URL = "/api/v1/agent/samples"
TOKEN = "agent-token-of-the-tests"
BAD = [
    ("not json", "malformed"),
    ("[" * 100_000, "malformed"),
    ("[]", "invalid"),
    ("{}", "invalid"),
    (" " * 300_000, "invalid"),
]


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.AGENT_TOKEN = TOKEN


@pytest.fixture
def agent(db: None) -> APIClient:
    """A client with the agents' token."""
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    return client


def beat(**changes: Any) -> dict[str, Any]:
    """A good body, with `changes` to its only GPU or, for `node`, `at` and `gpus`, to itself."""
    gpu: dict[str, Any] = {
        "uuid": "GPU-fake-0",
        "external_names": ["fg-a-1"],
        "utilization_percent": 50.0,
        "memory_used_bytes": 1000,
        "power_watts": 100.5,
        "temperature_celsius": 40.0,
    }
    own = {key: changes.pop(key) for key in ("node", "at", "gpus") if key in changes}
    at = datetime.now(UTC).isoformat()
    body: dict[str, Any] = {"node": "n", "at": at, "gpus": [gpu | changes]}
    return body | own


def post(agent: APIClient, body: object) -> Any:
    # Written here, as the test client's own encoder refuses what a hostile caller may send.
    return agent.generic("POST", URL, json.dumps(body), content_type="application/json")


def test_what_the_agent_writes_is_taken(actor: Actor, engine: Engine, agent: APIClient) -> None:
    attempt = run(actor, engine)
    reading = GpuReading("GPU-fake-0", (attempt.external_name,), utilization_percent=12.5)
    now = int(datetime.now(UTC).timestamp())
    answer = agent.generic("POST", URL, letter_body(now, [reading]).decode(), "application/json")
    assert (answer.status_code, answer.json()) == (202, {"stored": 1})
    assert GpuSample.objects.get().at == datetime.fromtimestamp(now, UTC)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer é"])
def test_other_tokens_are_refused(db: None, header: str) -> None:
    answer = APIClient().post(URL, beat(), format="json", HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"


def test_no_token_set_means_nobody(db: None, settings: Any) -> None:
    settings.AGENT_TOKEN = ""
    answer = APIClient().post(URL, beat(), format="json", HTTP_AUTHORIZATION="Bearer ")
    assert answer.status_code == 401


def test_a_persons_key_is_none_of_an_agent(
    alice: User, team: Any, api_of: Callable[[User], APIClient]
) -> None:
    assert api_of(alice).post(URL, beat(), format="json").status_code == 401


@pytest.mark.parametrize(("text", "code"), BAD, ids=["text", "deep", "list", "empty", "long"])
def test_bodies_that_make_no_sense(agent: APIClient, text: str, code: str) -> None:
    answer = agent.generic("POST", URL, text, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"uuid": ""},
        {"uuid": "G" * 81},
        {"uuid": "\0"},
        {"uuid": "\ud800"},
        {"external_names": "fg-a-1"},
        {"external_names": None},
        {"external_names": ["n"] * 17},
        {"external_names": ["n" * 81]},
        {"utilization_percent": -0.1},
        {"utilization_percent": 100.1},
        {"utilization_percent": float("nan")},
        {"utilization_percent": "50"},
        {"utilization_percent": True},
        {"utilization_percent": [1]},
        {"memory_used_bytes": -1},
        {"memory_used_bytes": 2**50 + 1},
        {"memory_used_bytes": 1.5},
        {"memory_used_bytes": "1"},
        {"power_watts": float("inf")},
        {"power_watts": 10**400},
        {"temperature_celsius": -300},
        {"node": ""},
        {"at": "yesterday"},
        {"at": None},
        {"at": "0001-01-01T00:00:00+23:59"},
        {"gpus": None},
        {"gpus": {}},
        {"gpus": [None]},
        {"gpus": beat()["gpus"] * 65},
    ],
    ids=str,
)
def test_values_out_of_bounds(agent: APIClient, changes: dict[str, Any]) -> None:
    answer = post(agent, beat(**changes))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("seconds", "status"), [(-899, 202), (-910, 400), (4, 202), (60, 400)], ids=str
)
def test_a_beat_is_neither_old_nor_of_the_future(
    agent: APIClient, seconds: int, status: int
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    assert post(agent, beat(at=at.isoformat())).status_code == status


def test_unknown_values_stay_unknown(actor: Actor, engine: Engine, agent: APIClient) -> None:
    gpu = {"uuid": "GPU-fake-0", "external_names": [run(actor, engine).external_name]}
    assert post(agent, beat(gpus=[gpu])).status_code == 202
    sample = GpuSample.objects.get()
    assert (sample.utilization_percent, sample.memory_used_bytes) == (None, None)


def test_only_post(agent: APIClient) -> None:
    assert agent.get(URL).status_code == 405


def test_it_is_exempt_from_csrf() -> None:
    request = APIRequestFactory(enforce_csrf_checks=True).post(URL, beat(), format="json")
    assert AgentSamplesView.as_view()(request).status_code == 401
