"""Pages of schedules: the list, one with what came of its times, and what is done from there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import Team, User
from clusters.choices import RunOutcome
from clusters.control.schedules import settle
from clusters.models import Schedule, ScheduleRun, Volume, Workload
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.schedules import make_schedule, make_volume, sweep

SignIn = Callable[[User], Client]
HOME = "/notebooks/schedules/"


@pytest.fixture
def volume(actor: Actor, engine: Engine) -> Volume:
    return make_volume(actor)


@pytest.fixture
def schedule(actor: Actor, volume: Volume) -> Schedule:
    return make_schedule(actor, volume)


@pytest.fixture
def browser(alice: User, team: Team, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


def page_of(browser: Client, schedule: Schedule | None = None, query: str = "") -> str:
    path = f"{HOME}{schedule.public_id}/" if schedule else HOME
    response = browser.get(path + query)
    assert response.status_code == 200
    return response.content.decode()


def do(browser: Client, schedule: Schedule, verb: str) -> Any:
    return browser.post(f"{HOME}{schedule.public_id}/{verb}/")


def test_without_schedules_the_next_step_is_offered(browser: Client) -> None:
    page = page_of(browser)
    assert "No schedules yet" in page
    assert f'href="{HOME}new/"' in page


def test_the_list_says_what_runs_when_and_what_came_of_it(
    browser: Client, schedule: Schedule
) -> None:
    page = page_of(browser)
    assert "None yet" in page
    assert "reports/daily.ipynb" in page
    assert "Every hour" in page or "At the start of every hour" in page
    Schedule.objects.update(next_at=clock.now() - timedelta(seconds=5))
    sweep()
    assert "Queued" in page_of(browser)


def test_another_teams_schedules_are_not_shown(
    charlie: User, schedule: Schedule, client_of: SignIn
) -> None:
    stranger = client_of(charlie)
    assert "daily report" not in page_of(stranger)
    assert stranger.get(f"{HOME}{schedule.public_id}/").status_code == 404


def test_a_removed_one_is_not_shown(browser: Client, schedule: Schedule) -> None:
    response = do(browser, schedule, "remove")
    assert (response.status_code, response["Location"]) == (303, HOME)
    assert schedule.public_id not in page_of(browser)
    assert browser.get(f"{HOME}{schedule.public_id}/").status_code == 404


def test_its_page_shows_the_next_times_in_its_time_zone(
    browser: Client, actor: Actor, volume: Volume
) -> None:
    schedule = make_schedule(actor, volume, cron="30 3 * * *", timezone="Asia/Kolkata")
    page = page_of(browser, schedule)
    assert page.count(", 03:30</span>") == 5
    following = Schedule.objects.get().next_at
    assert following is not None
    assert f"{following:%-d %b %Y, 22:00:00}" in page


def test_a_run_is_listed_with_its_job_its_output_and_its_cost(
    browser: Client, schedule: Schedule, engine: Engine
) -> None:
    response = do(browser, schedule, "run")
    job = Workload.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"/jobs/{job.public_id}/")
    tick()
    page = page_of(browser, schedule)
    assert f'href="/jobs/{job.public_id}/"' in page
    assert "Run by hand" in page
    assert "reports/daily-" in page
    assert "data-rate-micros" in page


def test_what_was_not_launched_is_listed_with_why(browser: Client, schedule: Schedule) -> None:
    for outcome, words in ((RunOutcome.REFUSED, "Not enough credit."), (RunOutcome.SKIPPED, "x")):
        at = clock.now() - timedelta(minutes=len(words))
        ScheduleRun.objects.create(schedule=schedule, outcome=outcome, due_at=at, detail=words)
    page = page_of(browser, schedule)
    assert "Could not be launched" in page
    assert "Not enough credit." in page
    assert "Skipped" in page


def test_the_runs_take_a_fixed_number_of_queries(browser: Client, schedule: Schedule) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page_of(browser, schedule)
        return len(queries)

    Schedule.objects.update(skips_while_running=False)
    do(browser, schedule, "run")
    page_of(browser, schedule)
    one = count()
    for _ in range(3):
        do(browser, schedule, "run")
    assert Workload.objects.count() == 4
    page_of(browser, schedule)
    assert count() == one


def test_only_what_changes_is_answered_to_htmx(browser: Client, schedule: Schedule) -> None:
    for path in (HOME, f"{HOME}{schedule.public_id}/"):
        part = browser.get(path, headers={"HX-Request": "true"}).content.decode()
        assert "<html" not in part
        assert "alice@example.org" in part or schedule.public_id in part


def test_it_is_paused_and_resumed(browser: Client, schedule: Schedule) -> None:
    assert do(browser, schedule, "pause").status_code == 303
    page = page_of(browser, schedule)
    assert "It launches nothing until it is resumed." in page
    assert "Next times" not in page
    assert not Schedule.objects.get().is_on
    do(browser, schedule, "resume")
    assert "Next times" in page_of(browser, schedule)
    assert Schedule.objects.get().is_on


def test_why_it_was_paused_by_itself_is_said(
    browser: Client, schedule: Schedule, settings: Any
) -> None:
    settings.SCHEDULE_FAILURES = 2
    Schedule.objects.update(failures_in_row=1)
    Schedule.objects.update(next_at=clock.now() - timedelta(seconds=5))
    sweep()
    Workload.objects.update(status="failed", ended_at=clock.now())
    settle()
    assert "It failed 2 times in a row." in page_of(browser, schedule)


def test_a_run_that_may_not_be_is_refused_on_the_page(browser: Client, schedule: Schedule) -> None:
    do(browser, schedule, "run")
    response = do(browser, schedule, "run")
    assert response["Location"] == f"{HOME}{schedule.public_id}/"
    assert "The run before is still going." in page_of(browser, schedule)
    assert Workload.objects.count() == 1


@pytest.mark.parametrize("verb", ["run", "pause", "remove"])
def test_anothers_schedule_is_seen_and_left_alone(
    bob: User, schedule: Schedule, client_of: SignIn, verb: str
) -> None:
    member = client_of(bob)
    page = page_of(member, schedule)
    assert "Make a copy" in page
    assert f"/{verb}/" not in page
    assert do(member, schedule, verb).status_code == 403
    assert Schedule.objects.get().is_on
    assert not Workload.objects.exists()


def test_an_owner_may_change_a_members(
    bob: User, browser: Client, volume: Volume, schedule: Schedule
) -> None:
    made = make_schedule(actor_of_user(bob), volume)
    assert do(browser, made, "pause").status_code == 303
    assert not Schedule.objects.get(pk=made.pk).is_on
