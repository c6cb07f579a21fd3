"""The list of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.test import Client

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from tests.conftest import Engine

SignIn = Callable[[User], Client]
REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


def test_without_jobs_the_example_is_offered_with_its_price(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    page = client_of(alice).get("/jobs/").content.decode()
    assert "Launch the digits example: about $0.01" in page
    assert "/jobs/new/?example=digits" in page


def test_a_filter_shows_only_its_jobs(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    launch(actor, replace(REQUEST, name="stays"))
    cancel(actor, launch(actor, replace(REQUEST, name="goes")).public_id)
    page = client_of(alice).get("/jobs/?status=cancelled").content.decode()
    assert "goes" in page
    assert "stays" not in page


def test_a_filter_nobody_knows_shows_all(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    launch(actor, REQUEST)
    response = client_of(alice).get("/jobs/?status=%00nonsense&page=x")
    assert response.status_code == 200
    assert "digits" in response.content.decode()


def test_the_page_is_cut_at_25(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    for number in range(26):
        launch(actor, replace(REQUEST, name=f"number-{number:02}", time_limit_seconds=60))
    browser = client_of(alice)
    assert "number-00" not in browser.get("/jobs/").content.decode()
    assert "number-00" in browser.get("/jobs/?page=2").content.decode()


def test_queries_do_not_grow_with_jobs(
    alice: User,
    actor: Actor,
    engine: Engine,
    client_of: SignIn,
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    for _ in range(10):
        launch(actor, replace(REQUEST, time_limit_seconds=60))
    browser = client_of(alice)
    with django_assert_max_num_queries(22):  # type: ignore[attr-defined]
        browser.get("/jobs/")


def test_others_jobs_are_not_shown(
    charlie: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    launch(actor, replace(REQUEST, name="secret-work"))
    assert "secret-work" not in client_of(charlie).get("/jobs/").content.decode()
    assert actor_of_user(charlie).team != actor.team
