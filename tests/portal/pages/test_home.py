"""The landing page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.models import Pool
from clusters.tasks import drive_pool


def text_of(client: Client, path: str) -> str:
    """The page as text; it must answer 200."""
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_strangers_see_the_price_and_what_is_free(client: Client, pool: Pool) -> None:
    page = text_of(client, "/")
    assert "$2.10" in page
    assert "4 of 4" in page


def test_virtual_gpus_say_so(client: Client, pool: Pool) -> None:
    assert ">virtual</span>" in text_of(client, "/")


def test_strangers_can_sign_up(client: Client, pool: Pool) -> None:
    assert 'href="/account/signup/"' in text_of(client, "/")


def test_people_we_know_find_the_dashboard(
    client_of: Callable[[User], Client], alice: User
) -> None:
    page = text_of(client_of(alice), "/")
    assert 'href="/dashboard/"' in page
    assert 'href="/account/signup/"' not in page


def test_what_is_free_follows_what_runs(client: Client, actor: Actor, pool: Pool) -> None:
    launch(
        actor, JobRequest(name="one", pool="a100", gpus=3, command="true", time_limit_seconds=600)
    )
    drive_pool(pool.pk)
    assert "1 of 4" in text_of(client, "/pools/now/")


def test_a_closed_pool_is_not_offered(client: Client, pool: Pool) -> None:
    Pool.objects.update(is_open=False)
    page = text_of(client, "/pools/now/")
    assert "No pool is open" in page


def test_a_pool_that_starts_nothing_says_so(client: Client, pool: Pool) -> None:
    Pool.objects.update(may_start=False)
    assert "Starts nothing at present" in text_of(client, "/pools/now/")


@pytest.mark.django_db
def test_writing_to_the_landing_page_is_refused(client: Client) -> None:
    assert client.post("/").status_code == 405
