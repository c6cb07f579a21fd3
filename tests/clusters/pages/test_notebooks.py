"""The list of notebooks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebook_shares import follow_share, share_notebook
from clusters.actions.notebooks import remove_notebook
from clusters.models import Notebook
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.notebooks import launched, make_volume, running, starting, stopped

SignIn = Callable[[User], Client]
Text = Callable[..., str]


@pytest.fixture
def listed(alice: User, engine: Engine, client_of: SignIn) -> Text:
    """The list as somebody sees it, alice if nobody is named."""

    def read(user: User = alice, query: str = "") -> str:
        return client_of(user).get(f"/notebooks/{query}").content.decode()

    return read


def test_without_notebooks_the_first_is_offered_with_its_price(
    alice: User, actor: Actor, listed: Text
) -> None:
    page = listed()
    assert "No notebooks yet" in page
    assert "Launch one: about $2.10/h" in page


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_where_no_pool_serves_none_is_offered(actor: Actor, listed: Text) -> None:
    page = listed()
    assert "No pool runs notebooks at present." in page
    assert "Launch one" not in page


def test_one_that_is_ready_can_be_opened_and_stopped(actor: Actor, listed: Text) -> None:
    notebook = running(actor, volume=make_volume(actor).public_id)
    page = listed()
    name = notebook.public_id
    assert f'href="/open/{name.replace("_", "-")}/" target="_blank"' in page
    assert f'hx-get="/notebooks/{name}/stop/"' in page
    assert f"/notebooks/{name}/start/" not in page
    assert "data-rate-micros" in page
    assert "data" in page
    assert "python-data" in page


def test_one_whose_server_starts_can_be_stopped_and_not_opened(actor: Actor, listed: Text) -> None:
    notebook = starting(actor)
    page = listed()
    assert "/open/" not in page
    assert f"/notebooks/{notebook.public_id}/stop/" in page


def test_one_that_rests_can_be_started(actor: Actor, engine: Engine, listed: Text) -> None:
    notebook = stopped(actor, engine)
    page = listed()
    assert f'action="/notebooks/{notebook.public_id}/start/"' in page
    assert f"/notebooks/{notebook.public_id}/stop/" not in page


def test_a_countdown_is_shown(actor: Actor, listed: Text) -> None:
    running(actor)
    Notebook.objects.update(stops_at=clock.now() + timedelta(minutes=8), stops_for="idle")
    page = listed()
    assert "Nothing is done in it" in page
    assert "Stops <time" in page


def test_members_see_each_others_and_open_those_they_were_let_into(
    actor: Actor, bob: User, listed: Text
) -> None:
    notebook = running(actor)
    assert notebook.name in listed(bob)
    assert "/open/" not in listed(bob)
    follow_share(actor_of_user(bob), share_notebook(actor, notebook.public_id)[1])
    assert "/open/" in listed(bob)


def test_others_and_removed_ones_and_jobs_are_not_shown(
    actor: Actor, charlie: User, engine: Engine, listed: Text
) -> None:
    running(actor, name="stays")
    remove_notebook(actor, stopped(actor, engine, name="goes").public_id)
    launch(actor, JobRequest("a-job", "a100", 1, "true"))
    page = listed()
    assert ("stays" in page, "goes" in page, "a-job" in page) == (True, False, False)
    assert "stays" not in listed(charlie)


def test_a_filter_shows_only_its_own(actor: Actor, engine: Engine, listed: Text) -> None:
    stopped(actor, engine, name="rests")
    running(actor, name="works")
    page = listed(query="?status=stopped")
    assert ("rests" in page, "works" in page) == (True, False)
    assert "rests" in listed(query="?status=%00nonsense&page=x")


def test_the_page_is_cut_at_25(actor: Actor, listed: Text) -> None:
    for number in range(26):
        launched(actor, name=f"number-{number:02}", lifetime_seconds=60)
    assert "number-00" not in listed()
    assert "number-00" in listed(query="?page=2")


def test_queries_do_not_grow_with_notebooks(
    actor: Actor, bob: User, engine: Engine, client_of: SignIn
) -> None:
    browser = client_of(bob)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get("/notebooks/")
        return len(queries)

    running(actor, lifetime_seconds=60)
    launched(actor, lifetime_seconds=60)
    count()  # what is cached for every page
    one = count()
    for _ in range(9):
        launched(actor, lifetime_seconds=60)
    assert count() == one
    assert one <= 22
