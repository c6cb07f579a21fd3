"""The frame asks for nothing that is not shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import Team, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.models import Pool
from clusters.tasks import drive_pool
from portal.context import frame
from tests.fakes.loop import tick


def request_of(actor: Actor | None, path: str = "/dashboard/") -> Any:
    """A request as `signed_in` hands it to a page."""
    request: Any = RequestFactory().get(path)
    request.user = actor.user if actor else AnonymousUser()
    if actor:
        request.actor = actor
    return request


@pytest.mark.django_db
def test_an_anonymous_page_needs_no_query(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        client.get(reverse("account_login"))
    assert asked.captured_queries == []


@pytest.mark.django_db
def test_an_error_page_needs_no_query(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert client.get("/nothing/here/").status_code == 404
    assert asked.captured_queries == []


def test_making_the_context_needs_no_query(actor: Actor) -> None:
    with CaptureQueriesContext(connection) as asked:
        frame(request_of(actor))
    assert asked.captured_queries == []


def test_the_area_looked_at_is_marked(actor: Actor) -> None:
    items = frame(request_of(actor, "/settings/api-keys/"))["nav_items"]
    assert [item["label"] for item in items if item["is_active"]] == ["Settings"]


def test_without_burn_there_is_no_runway(actor: Actor) -> None:
    funds = frame(request_of(actor))["funds"]
    assert (funds["balance_text"], funds["runway_text"], funds["level"]) == ("$50.00", "", "ok")


def test_runway_is_what_is_left_at_this_burn(actor: Actor, pool: Pool) -> None:
    launch(
        actor,
        JobRequest(name="one", pool="a100", gpus=2, command="true", time_limit_seconds=600),
    )
    drive_pool(pool.pk)
    tick()
    context = frame(request_of(actor))
    assert context["running"] == {"count": 1, "per_hour_text": "$4.20/h"}
    assert context["funds"]["runway_text"] == "11 h left"
    assert context["funds"]["level"] == "warn"


def test_an_unknown_theme_is_not_believed(actor: Actor) -> None:
    request = request_of(actor)
    request.COOKIES["theme"] = 'dark" onload="'
    assert frame(request)["theme"] == "auto"


def test_the_insecure_flag_shows_a_banner(client: Client, settings: Any, db: None) -> None:
    settings.LOCAL_ALLOW_INSECURE = True
    assert b"without any isolation" in client.get(reverse("account_login")).content


def test_outside_the_demo_no_mailbox_is_offered(settings: Any, client: Client, db: None) -> None:
    settings.DEMO = False
    assert b"/mailbox/" not in client.get(reverse("account_login")).content


def test_staff_find_the_console(
    client_of: Callable[[User], Client], dora: User, alice: User, team: Team
) -> None:
    assert b'href="/admin/"' in client_of(dora).get("/team/").content
    assert b'href="/admin/"' not in client_of(alice).get("/team/").content


def test_each_fact_is_read_once(actor: Actor) -> None:
    request = request_of(actor_of_user(actor.user) if actor.user else None)
    first = frame(request)
    assert first["funds"]["balance_text"] == "$50.00"
    with CaptureQueriesContext(connection) as asked:
        assert frame(request)["funds"]["balance_text"] == "$50.00"
    assert asked.captured_queries == []
