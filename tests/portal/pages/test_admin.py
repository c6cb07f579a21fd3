"""The staff console: everything is seen, lists change nothing, a run is stopped with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.actions.teams import create_api_key
from accounts.actor import Actor
from accounts.models import AuditEvent, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.launching import add_attempt
from clusters.choices import AttemptState, WorkloadStatus
from clusters.models import Attempt, Pool, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import PASSWORD, Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import running

OURS = [
    (app, model)
    for app, names in {
        "accounts": ["user", "team", "apikey", "auditevent"],
        "clusters": ["pool", "node", "gpu", "engine", "workload"],
    }.items()
    for model in names
]


@pytest.fixture
def console(client_of: Callable[[User], Client], dora: User) -> Client:
    """Dora's browser."""
    return client_of(dora)


@pytest.fixture
def run(actor: Actor, pool: Pool) -> Workload:
    """A job of alice's that has its GPUs."""
    job = launch(
        actor,
        JobRequest(
            name="digits",
            pool="a100",
            gpus=1,
            command="true",
            time_limit_seconds=600,
            env={"TOKEN": "hidden-value"},
        ),
    )
    drive_pool(pool.pk)
    tick()
    return job


def test_staff_sign_in_with_their_address(client: Client, dora: User) -> None:
    response = client.post(
        "/admin/login/", {"username": dora.email, "password": PASSWORD, "next": "/admin/"}
    )
    assert response.headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(("app", "model"), OURS)
def test_others_do_not_get_in(
    client_of: Callable[[User], Client], alice: User, app: str, model: str
) -> None:
    response = client_of(alice).get(reverse(f"admin:{app}_{model}_changelist"))
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(("app", "model"), OURS)
def test_lists_and_pages_open(console: Client, run: Workload, app: str, model: str) -> None:
    create_api_key(Actor.staff(run.created_by, team=run.team, reason="tests"), name="laptop")
    assert console.get(reverse(f"admin:{app}_{model}_changelist"), {"q": "a"}).status_code == 200
    found = _model(app, model)._default_manager.first()
    assert found is not None
    assert console.get(reverse(f"admin:{app}_{model}_change", args=[found.pk])).status_code == 200


@pytest.mark.parametrize("shown", admin.site._registry.values(), ids=str)
def test_nothing_is_added_changed_or_deleted(dora: User, shown: admin.ModelAdmin[Any]) -> None:
    request = RequestFactory().get("/admin/")
    request.user = dora
    assert shown.has_view_permission(request)
    assert not shown.has_add_permission(request)
    assert not shown.has_change_permission(request)
    assert not shown.has_delete_permission(request)
    for inline in shown.get_inline_instances(request):
        assert not inline.has_add_permission(request, None)
        assert not inline.has_change_permission(request)
        assert not inline.has_delete_permission(request)


def test_a_changed_form_is_refused(console: Client, alice: User) -> None:
    path = reverse("admin:accounts_user_change", args=[alice.pk])
    assert console.post(path, {"email": "mallory@example.org"}).status_code == 403
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_the_delete_action_is_not_there(console: Client, run: Workload) -> None:
    page = console.get(reverse("admin:clusters_workload_changelist")).content.decode()
    assert "delete_selected" not in page


def test_secrets_are_not_shown(console: Client, run: Workload, actor: Actor) -> None:
    key, secret = create_api_key(actor, name="laptop")
    pages = [
        console.get(reverse("admin:accounts_apikey_change", args=[key.pk])),
        console.get(reverse("admin:accounts_user_change", args=[run.created_by.pk])),
        console.get(reverse("admin:clusters_workload_change", args=[run.pk])),
    ]
    text = "".join(page.content.decode() for page in pages)
    assert secret not in text
    assert key.digest not in text
    assert run.created_by.password not in text
    assert "hidden-value" not in text
    assert "TOKEN" in text


def test_a_run_shows_all_its_attempts(console: Client, run: Workload) -> None:
    Attempt.objects.filter(workload=run).update(
        engine_id="4711", missing_since=clock.now(), state=AttemptState.ENDED
    )
    again = add_attempt(run, number=2)
    page = console.get(reverse("admin:clusters_workload_change", args=[run.pk])).content.decode()
    assert "4711" in page
    assert "Missing since" in page
    assert again.external_name in page


def test_instants_are_shown_to_the_second(console: Client, run: Workload) -> None:
    page = console.get(reverse("admin:clusters_workload_changelist")).content.decode()
    assert f"{run.created_at:%-d %b %Y, %H:%M:%S}" in page


def test_the_button_on_a_run_asks_for_the_reason(console: Client, run: Workload) -> None:
    page = console.get(reverse("admin:clusters_workload_change", args=[run.pk])).content.decode()
    path = reverse("admin:clusters_workload_stop_one", args=[run.pk])
    assert path in page
    assert console.get(path).headers["Location"] == stop_path(run)


def test_the_action_on_the_list_asks_for_the_reason(console: Client, run: Workload) -> None:
    response = console.post(
        reverse("admin:clusters_workload_changelist"),
        {"action": "stop_chosen", "_selected_action": [str(run.pk)]},
    )
    assert response.headers["Location"] == stop_path(run)
    assert "digits" in console.get(stop_path(run)).content.decode()


def test_a_run_is_stopped_with_a_reason(console: Client, run: Workload, dora: User) -> None:
    response = console.post(stop_path(run), {"reason": "It mines coins"})
    assert response.status_code == 302
    run.refresh_from_db()
    assert run.status == WorkloadStatus.STOPPING
    event = AuditEvent.objects.get(verb="job.cancelled")
    assert (event.user, event.reason, event.team) == (dora, "It mines coins", run.team)


def test_a_notebook_is_stopped_with_a_reason(
    console: Client, actor: Actor, engine: Engine, dora: User
) -> None:
    notebook = running(actor)
    console.post(stop_path(notebook), {"reason": "It mines coins"})
    notebook.refresh_from_db()
    assert notebook.status == WorkloadStatus.STOPPING
    event = AuditEvent.objects.get(verb="notebook.stopped")
    assert (event.user, event.reason) == (dora, "It mines coins")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301])
def test_without_a_reason_it_goes_on(console: Client, run: Workload, reason: str) -> None:
    assert console.post(stop_path(run), {"reason": reason}).status_code == 400
    run.refresh_from_db()
    assert run.status == WorkloadStatus.RUNNING


def test_what_has_ended_is_left_as_it_is(console: Client, run: Workload) -> None:
    Workload.objects.update(status=WorkloadStatus.SUCCEEDED)
    page = console.post(stop_path(run), {"reason": "Too late"}, follow=True).content.decode()
    assert "has ended already" in page
    assert not AuditEvent.objects.filter(verb="job.cancelled").exists()


def test_an_unknown_run_is_not_found(console: Client, run: Workload) -> None:
    path = reverse("admin:clusters_workload_stop")
    assert console.get(path, {"job": "job_nothing"}).status_code == 404
    assert console.get(path, {"job": "\0"}).status_code == 404


def test_others_cannot_stop_through_the_console(
    client_of: Callable[[User], Client], run: Workload, charlie: User
) -> None:
    client_of(charlie).post(stop_path(run), {"reason": "mine"})
    run.refresh_from_db()
    assert run.status == WorkloadStatus.RUNNING


def stop_path(run: Workload) -> str:
    """The page that asks why."""
    return f"{reverse('admin:clusters_workload_stop')}?job={run.public_id}"


def _model(app: str, name: str) -> type[models.Model]:
    return next(m for m in admin.site._registry if m._meta.label_lower == f"{app}.{name}")
