"""TensorBoard over a run, opened, looked at and closed through the API."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.actor import Actor
from clusters.actions.apps import note_ready
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.sides import MOST_AT_ONCE, board_of_run
from clusters.control.sides import drive_sides
from clusters.models import App, Side, Workload
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import running
from tests.fakes.serving import FolderBackend


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs."""
    made = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    tick()
    return Workload.objects.get(pk=made.pk)


def opened(api: APIClient, run: Workload, **headers: str) -> dict[str, Any]:
    response = api.post(f"/api/v1/{run.kind}s/{run.public_id}/tensorboard", headers=headers)
    assert response.status_code == 201, response.content
    found: dict[str, Any] = response.json()
    return found


def test_it_is_opened_over_a_job_and_a_notebook(
    api: APIClient, actor: Actor, job: Workload, settings: Any
) -> None:
    for run in (job, running(actor)):
        board = opened(api, run)
        assert (board["run"], board["volume"], board["folder"]) == (run.public_id, None, "")
        assert (board["is_ready"], board["ended_at"], board["detail"]) == (False, None, "")
        assert board["url"] == f"{settings.SITE_URL}/open/tb-{board['id'].replace('_', '-')}/"


def test_asked_for_again_it_is_the_same(api: APIClient, job: Workload) -> None:
    first = opened(api, job)
    assert opened(api, job)["id"] == first["id"]
    assert opened(api, job, **{"Idempotency-Key": "k"}) == opened(api, job)


@pytest.mark.parametrize("engine_class", [FolderBackend])
def test_it_is_ready_once_it_answers(api: APIClient, job: Workload) -> None:
    board = opened(api, job)
    drive_sides()
    note_ready(App.objects.get(side__public_id=board["id"]).pk)
    assert api.get(f"/api/v1/tensorboards/{board['id']}").json()["is_ready"] is True


def test_it_is_closed_and_closing_twice_is_no_error(api: APIClient, job: Workload) -> None:
    path = f"/api/v1/tensorboards/{opened(api, job)['id']}"
    assert [api.delete(path).status_code for _ in range(2)] == [204, 204]
    found = api.get(path).json()
    assert (found["is_ready"], found["detail"]) == (False, "Closed")
    assert found["ended_at"] is not None


def test_too_many_at_once_are_refused(api: APIClient, actor: Actor, engine: Engine) -> None:
    for n in range(MOST_AT_ONCE + 1):
        job = launch(actor, JobRequest(f"job {n}", "a100", 1, "train", 600))
        if n < MOST_AT_ONCE:
            board_of_run(actor, job.public_id)
    response = api.post(f"/api/v1/jobs/{job.public_id}/tensorboard")
    assert response.status_code == 429
    assert Side.objects.count() == MOST_AT_ONCE


def test_what_is_no_run_and_no_tensorboard_is_not_found(api: APIClient, job: Workload) -> None:
    assert api.post("/api/v1/jobs/nothing/tensorboard").status_code == 404
    assert api.post(f"/api/v1/notebooks/{job.public_id}/tensorboard").status_code == 404
    assert api.get("/api/v1/tensorboards/nothing").status_code == 404
    assert api.delete("/api/v1/tensorboards/nothing").status_code == 404
