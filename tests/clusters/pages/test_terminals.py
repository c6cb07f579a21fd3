"""The way from a run's page into a terminal in it, and the same in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.apps import note_ready
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.terminals import open_terminal
from clusters.models import App, Workload
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.notebooks import running, stopped

SignIn = Callable[[User], Client]
BUTTON = 'id="terminal-button"'


@pytest.fixture
def browser(alice: User, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs."""
    made = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    tick()
    return Workload.objects.get(pk=made.pk)


def page_of(run: Workload) -> str:
    return f"/{run.kind}s/{run.public_id}/"


def test_what_runs_has_the_button(
    browser: Client, bob: User, actor: Actor, job: Workload, client_of: SignIn
) -> None:
    for run in (job, running(actor)):
        for part in ("", "status/"):
            page = browser.get(f"{page_of(run)}{part}").content.decode()
            assert BUTTON in page
            assert f'action="{page_of(run)}terminal/" target="_blank"' in page
        assert BUTTON not in client_of(bob).get(page_of(run)).content.decode()


def test_what_waits_or_rests_has_none(browser: Client, actor: Actor, engine: Engine) -> None:
    waits = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    assert BUTTON not in browser.get(page_of(waits)).content.decode()
    rests = stopped(actor, engine)
    assert BUTTON not in browser.get(page_of(rests)).content.decode()


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_an_engine_without_terminals_shows_none(browser: Client, job: Workload) -> None:
    assert BUTTON not in browser.get(page_of(job)).content.decode()


def test_one_whose_server_has_ended_is_offered_anew(
    browser: Client, job: Workload, engine: Engine
) -> None:
    backend: Any = engine.backend
    url = f"{page_of(job)}terminal/"
    browser.post(url)
    backend.everywhere = None
    tick()
    page = browser.get(url).content.decode()
    assert "Open a terminal" in page
    assert "It starts" not in page


def test_a_click_leads_to_a_page_that_waits_and_goes_on_once_it_answers(
    browser: Client, job: Workload
) -> None:
    url = f"{page_of(job)}terminal/"
    clicked = browser.post(url)
    assert (clicked.status_code, clicked["Location"]) == (303, url)
    assert "It starts, and opens here by itself" in browser.get(url).content.decode()
    name = App.objects.get().name
    note_ready(App.objects.get().pk)
    part = browser.get(url, headers={"HX-Request": "true"})
    assert part["HX-Redirect"] == f"/open/{name}/"
    # No redirect: the page that follows a form may not lead to another origin.
    page = browser.get(url)
    assert (page.status_code, page["Cache-Control"]) == (200, "no-store")
    assert f'content="0;url=/open/{name}/"' in page.content.decode()
    opened = browser.get(f"/open/{name}/")
    assert opened.status_code == 303
    assert f"//{name}." in opened["Location"]


def test_a_refusal_is_a_page_that_says_why_and_what_to_do(
    browser: Client, engine: Engine, job: Workload
) -> None:
    backend: Any = engine.backend
    backend.no_terminal = "A terminal needs the prepared environment `tools`."
    answer = browser.post(f"{page_of(job)}terminal/")
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "A terminal needs the prepared environment `tools`." in page
    assert "Try again" in page
    assert f'href="{page_of(job)}"' in page


def test_an_engine_that_is_away_is_told_as_that(
    browser: Client, engine: Engine, job: Workload
) -> None:
    engine.backend.is_down = True
    answer = browser.post(f"{page_of(job)}terminal/")
    assert answer.status_code == 503
    assert "does not answer just now" in answer.content.decode()


def test_an_address_of_before_leads_to_where_it_is_opened_again(
    browser: Client, actor: Actor, job: Workload
) -> None:
    name = open_terminal(actor, job.public_id).name
    App.objects.all().delete()
    answer = browser.get(f"/open/{name}/")
    assert (answer.status_code, answer["Location"]) == (303, f"{page_of(job)}terminal/")
    page = browser.get(answer["Location"]).content.decode()
    assert "Open a terminal" in page
    assert not App.objects.exists()


def test_another_member_is_told_whom_it_is_for(
    bob: User, actor: Actor, job: Workload, client_of: SignIn
) -> None:
    answer = client_of(bob).get(f"{page_of(job)}terminal/")
    assert answer.status_code == 403
    assert "only for the person who launched it and for owners" in answer.content.decode()
    assert client_of(bob).post(f"{page_of(job)}terminal/").status_code == 403
    assert not App.objects.exists()


def test_the_api_opens_it_and_says_where(api: APIClient, actor: Actor, job: Workload) -> None:
    for run in (job, running(actor)):
        answer = api.post(f"/api/v1/{run.kind}s/{run.public_id}/terminal")
        assert answer.status_code == 201
        name = f"term-{run.public_id.replace('_', '-')}"
        assert answer.json()["url"].endswith(f"/open/{name}/")
        assert App.objects.filter(name=name).exists()


def test_the_api_says_why_it_cannot(api: APIClient, engine: Engine, job: Workload) -> None:
    backend: Any = engine.backend
    backend.no_terminal = "Something killed it."
    answer = api.post(f"/api/v1/jobs/{job.public_id}/terminal")
    assert (answer.status_code, answer.json()["error"]["message"]) == (409, "Something killed it.")


def test_the_proxy_wakes_it_as_the_person_whose_page_it_is(
    alice: User, bob: User, actor: Actor, engine: Engine, job: Workload, settings: Any
) -> None:
    open_terminal(actor, job.public_id)
    settings.PROXY_TOKEN = "of-the-proxy"
    proxy = APIClient()
    proxy.credentials(HTTP_AUTHORIZATION="Bearer of-the-proxy")
    url = f"/api/v1/proxy/terminals/{job.public_id}/wake"
    backend: Any = engine.backend
    assert proxy.post(url, {"user": alice.pk}, format="json").status_code == 200
    assert len(backend.terminals) == 2
    assert proxy.post(url, {"user": bob.pk}, format="json").status_code == 403
    assert len(backend.terminals) == 2
