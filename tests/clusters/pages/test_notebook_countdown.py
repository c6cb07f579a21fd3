"""The page that the mail about a countdown leads to."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client

from accounts.actor import Actor
from accounts.models import User
from clusters.choices import WorkloadStatus
from clusters.emails import send_countdown
from clusters.models import Notebook, Workload
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.notebooks import fresh, running

SignIn = Callable[[User], Client]


@pytest.fixture
def browser(alice: User, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


@pytest.fixture
def counting(actor: Actor, engine: Engine) -> Workload:
    """One that stops in eight minutes because nothing is done in it."""
    notebook = running(actor)
    Notebook.objects.update(
        stops_at=clock.now() + timedelta(minutes=8, seconds=30),
        stops_for="idle",
        idle_since=clock.now(),
    )
    return notebook


def page_of(notebook: Workload, choose: str = "keep") -> str:
    return f"/notebooks/{notebook.public_id}/countdown/?choose={choose}"


def forms_in(page: str) -> list[str]:
    return re.findall(r'<form method="post" action="/notebooks/[^/]+/(\w+)/"', page)


def test_every_link_of_the_mail_leads_to_a_page_that_does_as_it_says(
    browser: Client, counting: Workload
) -> None:
    send_countdown(Notebook.objects.select_related("workload__price").get(workload=counting))
    links = re.findall(r"https?://[^/\s]+(/\S+)", str(mail.outbox[0].body))
    assert links == [page_of(counting, "keep"), page_of(counting, "stop")]
    for link, button in zip(links, ("keep-button", "stop-button"), strict=True):
        page = browser.get(link).content.decode()
        assert forms_in(page) == ["keep", "stop"]
        assert re.findall(r'btn-primary" id="([\w-]+)"', page) == [button]


def test_following_a_link_alone_does_nothing(browser: Client, counting: Workload) -> None:
    page = browser.get(page_of(counting, "stop")).content.decode()
    assert "It stops in 8 min" in re.sub("<[^>]+>", "", page)
    assert Notebook.objects.get(workload=counting).stops_at is not None
    assert fresh(counting).status == WorkloadStatus.RUNNING


def test_what_was_told_when_to_stop_cannot_be_kept(browser: Client, counting: Workload) -> None:
    Notebook.objects.update(stops_for="stop_time")
    assert forms_in(browser.get(page_of(counting)).content.decode()) == ["stop"]


def test_a_mail_that_is_read_late_says_that_nothing_stops(
    browser: Client, counting: Workload
) -> None:
    Notebook.objects.update(stops_at=None)
    page = browser.get(page_of(counting)).content.decode()
    assert "nothing stops it soon" in page
    assert forms_in(page) == []


def test_another_member_is_told_who_may(counting: Workload, bob: User, client_of: SignIn) -> None:
    page = client_of(bob).get(page_of(counting)).content.decode()
    assert forms_in(page) == []
    assert "Only alice@example.org" in page
