"""The dashboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import Team, User
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebooks import remove_notebook
from clusters.models import Pool, Workload
from clusters.tasks import drive_pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import running, stopped


@pytest.fixture
def page(client_of: Callable[[User], Client], alice: User, team: Team) -> Callable[[], str]:
    """Alice's dashboard as text."""
    client = client_of(alice)

    def read() -> str:
        text: str = client.get("/dashboard/").content.decode()
        return text

    return read


def start(actor: Actor, pool: Pool, *, gpus: int = 1, name: str = "digits") -> Workload:
    """A job, placed and seen running where there is room."""
    request = JobRequest(name=name, pool="a100", gpus=gpus, command="true", time_limit_seconds=600)
    job = launch(actor, request)
    drive_pool(pool.pk)
    tick()
    job.refresh_from_db()
    return job


class Hands:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        """The present instant."""
        return self.at


@pytest.fixture
def hands() -> Iterator[Hands]:
    """Time stands still until the test moves it."""
    turned = Hands()
    with clock.use(turned):
        yield turned


def test_strangers_are_sent_to_sign_in(client: Client, db: None) -> None:
    response = client.get("/dashboard/")
    assert response.status_code == 302
    assert response.headers["Location"] == "/account/login/?next=/dashboard/"


def test_a_new_team_is_led_by_the_hand(page: Callable[[], str]) -> None:
    text = page()
    assert "First steps" in text
    assert "Launch the digits example" in text
    assert text.count('aria-label="Done"') == 2  # the address is verified, the team has credit


def test_a_team_without_credit_is_asked_for_some(
    client_of: Callable[[User], Client], alice: User
) -> None:
    text = client_of(alice).get("/dashboard/").content.decode()
    assert text.count('aria-label="Done"') == 1


def test_the_first_steps_go_once_something_was_launched(
    page: Callable[[], str], actor: Actor, pool: Pool
) -> None:
    start(actor, pool)
    assert "First steps" not in page()


def test_balance_and_what_is_held_are_shown(page: Callable[[], str]) -> None:
    text = page()
    assert "$50.00" in text
    assert "$50.00 available" in text


def test_a_running_job_ticks_from_its_cost_so_far(
    page: Callable[[], str], actor: Actor, pool: Pool, hands: Hands
) -> None:
    job = start(actor, pool, gpus=2)
    hands.at += timedelta(hours=1)
    tick()
    text = page()
    assert job.public_id in text
    assert 'data-cost-micros="4200000"' in text
    assert 'data-rate-micros="4200000"' in text


def test_what_runs_counts_as_spent_before_it_is_posted(
    page: Callable[[], str], actor: Actor, pool: Pool, hands: Hands
) -> None:
    hands.at = hands.at.replace(day=2)
    start(actor, pool)
    hands.at += timedelta(hours=1)
    tick()
    assert f"Spent in {hands.at:%B}" in page()
    assert "<dd>$2.10</dd>" in page().split("Spent in")[1]


def test_a_waiting_job_shows_its_place(page: Callable[[], str], actor: Actor, pool: Pool) -> None:
    start(actor, pool, gpus=4)
    start(actor, pool, gpus=4, name="second")
    text = page()
    assert "Waiting for free GPUs" in text
    assert '<td data-label="Place in the queue">Next</td>' in text


def test_an_ended_job_moves_to_the_recent_ones(
    page: Callable[[], str], actor: Actor, pool: Pool
) -> None:
    start(actor, pool, gpus=4)
    waiting = start(actor, pool, gpus=4)
    cancel(actor, waiting.public_id)
    assert "Ended lately" in page()


def test_notebooks_stand_beside_jobs_and_each_leads_to_its_own_page(
    page: Callable[[], str], actor: Actor, engine: Engine
) -> None:
    job, notebook = start(actor, engine.pool), running(actor)
    text = page()
    for run, path in ((job, "jobs"), (notebook, "notebooks")):
        assert f'<tr data-href="/{path}/{run.public_id}/">' in text
    assert re.sub(r"<[^>]+>", "", text).count("2 running") == 1  # in the top bar


def test_a_notebook_that_rests_is_among_the_recent_ones_until_it_is_removed(
    page: Callable[[], str], actor: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)
    assert notebook.public_id in page()
    remove_notebook(actor, notebook.public_id)
    assert notebook.public_id not in page()


def test_another_team_is_not_seen(
    client_of: Callable[[User], Client], actor: Actor, charlie: User, pool: Pool
) -> None:
    job = start(actor, pool)
    assert job.public_id not in client_of(charlie).get("/dashboard/").content.decode()


def test_markup_in_a_name_stays_text(page: Callable[[], str], actor: Actor, pool: Pool) -> None:
    start(actor, pool)
    Workload.objects.update(name="<i>x</i>")
    assert "&lt;i&gt;x" in page()
    assert "<i>x" not in page()


def test_htmx_gets_only_what_changes(
    client_of: Callable[[User], Client], alice: User, team: Team
) -> None:
    response = client_of(alice).get("/dashboard/", headers={"HX-Request": "true"})
    assert "<html" not in response.content.decode()
    assert 'id="topbar-funds"' in response.content.decode()
    assert "HX-Request" in response.headers["Vary"]


def test_queries_do_not_grow_with_jobs(
    client_of: Callable[[User], Client], alice: User, actor: Actor, pool: Pool
) -> None:
    client = client_of(alice)
    counts = []
    for _ in range(3):
        start(actor, pool)
        with CaptureQueriesContext(connection) as asked:
            client.get("/dashboard/")
        counts.append(len(asked.captured_queries))
    assert counts[0] == counts[1] == counts[2]
    assert counts[0] <= 18


def test_a_person_without_a_team_gets_one(client_of: Callable[[User], Client], alice: User) -> None:
    assert client_of(alice).get("/dashboard/").status_code == 200
    assert actor_of_user(alice).team is not None


def test_the_clock_of_a_run_leaves_out_when_it_did_not_run(
    page: Callable[[], str], actor: Actor, engine: Engine
) -> None:
    job = start(actor, engine.pool)
    # It was started for the first time hours ago; the attempt that runs is new.
    Workload.objects.filter(pk=job.pk).update(started_at=clock.now() - timedelta(hours=4))
    found = re.search(r'data-elapsed="([^"]+)"', page())
    assert found is not None
    assert clock.now() - datetime.fromisoformat(found[1]) < timedelta(hours=1)
