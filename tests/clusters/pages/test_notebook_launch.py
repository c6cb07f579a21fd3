"""The form of a notebook and its quote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from clusters.models import Workload
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.notebooks import launched, make_volume

SignIn = Callable[[User], Client]
URL = "/notebooks/new/"
GOOD = {
    "name": "explore",
    "pool": "a100",
    "gpus": "2",
    "environment": "python-data",
    "hours": "4",
    "minutes": "30",
    "idle": "30",
}


@pytest.fixture
def browser(alice: User, team: Team, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


def test_a_good_form_launches_and_leads_to_the_page_that_opens_it(browser: Client) -> None:
    response = browser.post(URL, GOOD)
    notebook = Workload.objects.get()
    page = f"/notebooks/{notebook.public_id}/?open=1"
    assert (response.status_code, response["Location"]) == (303, page)
    assert (notebook.kind, notebook.gpus, notebook.time_limit_seconds) == ("notebook", 2, 16_200)
    assert notebook.notebook.idle_minutes == 30


def test_the_form_is_filled_in_so_that_one_click_launches(browser: Client, settings: Any) -> None:
    form = browser.get(URL).context["form"]
    sent = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    assert browser.post(URL, sent).status_code == 303
    notebook = Workload.objects.get()
    assert (notebook.name, notebook.environment) == ("notebook-1", "python-data")
    assert notebook.notebook.idle_minutes == settings.IDLE_MINUTES


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Give it a name."),
        ("name", "<b>x</b>", "Use letters, digits"),
        ("gpus", "0", "Ask for at least 1 GPU."),
        ("gpus", "9", "gives at most 4 GPUs"),
        ("pool", "nowhere", "There is no such pool."),
        ("environment", "system", "There is no such environment."),
        ("environment", "", "Choose an environment."),
        ("volume", "vol_nothing", "There is no such volume."),
        ("idle", "", "Choose how long it may be idle."),
        ("idle", "soon", "Choose one of the list."),
        ("idle", "3", "Choose 5 to 10,080 minutes, or never."),
        ("idle", "9" * 5000, "Choose one of the list."),
        ("hours", "8784", "at most 604,800 seconds"),
        ("stop_at", "soon", "Write a date and a time."),
        ("stop_at", "2020-01-01T10:00", "Choose a time to come, or none."),
        ("stop_at", "9999-12-31T23:59", ""),
        ("max_cost", "x", "Write an amount"),
        ("project", "x" * 61, "at most 60 characters"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    browser: Client, field: str, value: str, sentence: str
) -> None:
    response = browser.post(URL, GOOD | {field: value, "utc_offset": "60"})
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert not Workload.objects.exists()


def test_a_time_is_read_as_the_persons_clock_shows_it(browser: Client) -> None:
    wanted = (clock.now() + timedelta(days=1)).replace(second=0, microsecond=0)
    shown = (wanted + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")  # two hours ahead of UTC
    browser.post(URL, GOOD | {"stop_at": shown, "utc_offset": "-120"})
    assert Workload.objects.get().notebook.stop_at == wanted


def test_without_our_script_a_time_is_utc(browser: Client) -> None:
    at = datetime(2100, 5, 1, 14, 30, tzinfo=UTC)
    browser.post(URL, GOOD | {"stop_at": "2100-05-01T14:30"})
    assert Workload.objects.get().notebook.stop_at == at


def test_without_funds_the_form_stays_and_leads_to_top_up(browser: Client, actor: Actor) -> None:
    for _ in range(5):
        launched(actor, gpus=4)
    response = browser.post(URL, GOOD | {"gpus": "4", "name": "the-last"})
    page = response.content.decode()
    assert response.status_code == 402
    assert "/billing/top-up/?amount=" in page
    assert "the-last" in page


def test_a_form_sent_twice_launches_once(browser: Client) -> None:
    form = GOOD | {"form_key": browser.get(URL).context["form"]["form_key"].value()}
    first, second = browser.post(URL, form), browser.post(URL, form, follow=True)
    assert Workload.objects.count() == 1
    assert second.redirect_chain == [(first["Location"], 303)]
    assert "launched from this form already" in second.content.decode()


def test_what_was_used_last_is_remembered_but_for_its_time_to_stop(
    browser: Client, actor: Actor
) -> None:
    launched(
        actor,
        gpus=3,
        idle_minutes=45,
        project="vision",
        volume=make_volume(actor).public_id,
        stop_at=clock.now() + timedelta(hours=1),
    )
    form = browser.get(URL).context["form"]
    assert [form[name].value() for name in ("name", "gpus", "idle", "project", "stop_at")] == [
        "notebook-2", 3, 45, "vision", None,
    ]  # fmt: skip
    assert 'value="45"' in browser.get(URL).content.decode()


def test_a_clone_fills_everything_under_a_new_name(browser: Client, actor: Actor) -> None:
    volume = make_volume(actor)
    soon = clock.now() + timedelta(hours=1)
    notebook = launched(
        actor,
        name="again",
        gpus=3,
        volume=volume.public_id,
        idle_minutes=0,
        lifetime_seconds=5400,
        stop_at=soon,
        project="vision",
        max_cost_micros=25_000_000,
    )
    form = browser.get(f"{URL}?clone={notebook.public_id}").context["form"]
    skipped = {"form_key", "utc_offset", "stop_at"}
    values = {name: form[name].value() for name in form.fields if name not in skipped}
    assert values == {
        "name": "again-2", "pool": "a100", "gpus": 3, "environment": "python-data", "hours": 1,
        "minutes": 30, "idle": 0, "project": "vision", "max_cost": 25,
        "volume": volume.public_id,
    }  # fmt: skip
    assert form.initial["stop_at"] == soon


@pytest.mark.parametrize(
    ("names", "following"),
    [
        (["explore"], "explore-2"),
        (["explore", "explore-2"], "explore-3"),
        (["explore-2", "explore-3", "explore-4"], "explore-5"),
        (["run-2026-11"], "run-2026-12"),
        (["-7"], "-7-2"),
        (["n" * 100], "n" * 98 + "-2"),
    ],
)
def test_a_clone_takes_the_next_name_that_is_free(
    browser: Client, actor: Actor, names: list[str], following: str
) -> None:
    first = launched(actor, name="kept")
    Workload.objects.filter(pk=first.pk).update(name=names[0])
    for name in names[1:]:
        launched(actor, name=name)
    form = browser.get(f"{URL}?clone={first.public_id}").context["form"]
    assert form["name"].value() == following


def test_anothers_notebook_is_not_cloned(
    charlie: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    notebook = launched(actor)
    assert client_of(charlie).get(f"{URL}?clone={notebook.public_id}").status_code == 404


def test_without_a_volume_it_is_said_how_long_files_last(browser: Client) -> None:
    page = browser.get(URL).content.decode()
    assert "files last only as long as the notebook is kept" in page


def test_what_counts_as_idle_is_said_in_the_installations_figures(
    browser: Client, settings: Any
) -> None:
    settings.IDLE_GPU_PERCENT, settings.IDLE_CPU_PERCENT = 7, 13
    page = browser.get(URL).content.decode()
    assert "less than 7 % busy and its CPU less than 13 % of a core" in page


def test_the_quote_follows_what_is_typed(browser: Client) -> None:
    asked = {"pool": "a100", "gpus": "2", "hours": "2", "minutes": "0"}
    page = browser.get("/notebooks/quote/", asked).content.decode()
    assert "$4.20/h" in page
    assert "Starts at once." in page
    assert "Launch 2 \N{MULTIPLICATION SIGN} A100 test · $4.20/h" in page


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_where_no_pool_serves_the_form_says_so(browser: Client) -> None:
    assert "No pool runs notebooks at present." in browser.get(URL).content.decode()
    asked = {"pool": "a100", "gpus": "1", "hours": "1"}
    assert "the price stands here" in browser.get("/notebooks/quote/", asked).content.decode()
    assert browser.post(URL, GOOD).status_code == 400
