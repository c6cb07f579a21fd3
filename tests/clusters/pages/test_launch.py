"""The launch form and its quote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.accounts import ensure_account
from billing.actions.holds import take_hold
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.examples import DIGITS
from clusters.models import Pool, Workload
from portal.lib.money import MICROS
from tests.conftest import Engine
from tests.fakes.notebooks import launched, make_volume

SignIn = Callable[[User], Client]
GOOD = {
    "name": "digits",
    "pool": "a100",
    "gpus": "2",
    "environment": "python-data",
    "hours": "0",
    "minutes": "30",
    "command": "echo one\r\necho two",
    "env": "SEED=1\r\n\r\nURL=http://x/?a=b",
}


@pytest.fixture
def browser(alice: User, team: Team, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


def test_a_good_form_launches_and_opens_the_job(browser: Client) -> None:
    response = browser.post("/jobs/new/", GOOD)
    job = Workload.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"/jobs/{job.public_id}/")
    assert (job.gpus, job.time_limit_seconds) == (2, 1800)
    assert job.command == "echo one\necho two"
    assert job.env == {"SEED": "1", "URL": "http://x/?a=b"}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("gpus", "0", "Ask for at least 1 GPU."),
        ("gpus", "-1", "Ask for at least 1 GPU."),
        ("gpus", "1e3", "Write a whole number"),
        ("gpus", "9", "gives at most 4 GPUs"),
        ("pool", "nowhere", "There is no such pool."),
        ("environment", "nothing", "There is no such environment."),
        ("command", "", "Say what to run"),
        ("command", "x" * 200_000, "at most 100,000 are taken"),
        ("command", "a\0b", "Null characters are not allowed."),
        ("name", "<b>x</b>", "Use letters, digits"),
        ("hours", "8784", "at most 604,800 seconds"),
        ("minutes", "0", "at least 10 seconds"),
        ("env", "A", "Line 1 has no =."),
        ("env", "A=1\nA=2", "A is set twice."),
        ("env", "1A=1", "is no name of a variable"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    browser: Client, field: str, value: str, sentence: str
) -> None:
    response = browser.post("/jobs/new/", GOOD | {field: value})
    page = response.content.decode()
    assert response.status_code == 400
    assert sentence in page
    assert "URL=http://x/?a=b" in page or field == "env"
    assert not Workload.objects.exists()


def test_without_funds_the_form_stays_and_leads_to_top_up(
    charlie: User, engine: Engine, client_of: SignIn
) -> None:
    form = GOOD | {"gpus": "4", "hours": "1"}
    browser = client_of(charlie)
    for _ in range(5):
        browser.post("/jobs/new/", form)
    response = browser.post("/jobs/new/", form | {"name": "the-last"})
    page = response.content.decode()
    assert response.status_code == 402
    assert "/billing/top-up/?amount=5" in page
    assert "the-last" in page


def test_the_example_fills_the_form(browser: Client) -> None:
    page = browser.get("/jobs/new/?example=digits")
    assert page.context["form"]["command"].value() == DIGITS.command
    assert page.context["form"]["environment"].value() == "python-data"


def test_what_is_not_built_is_not_in_the_form(browser: Client, engine: Engine) -> None:
    Pool.objects.update(present_environments=["system"])
    page = browser.get("/jobs/new/")
    choices = page.context["form"].fields["environment"].choices
    assert [value for value, _ in choices] == ["system"]
    assert 'data-environments="system"' in page.content.decode()


def test_a_clone_fills_everything(browser: Client, actor: Actor) -> None:
    request = JobRequest(
        "again",
        "a100",
        3,
        "echo x",
        5400,
        "system",
        {"A": "b"},
        retries=2,
        project="vision",
        max_cost_micros=25_000_000,
        volume=make_volume(actor).public_id,
    )
    job = launch(actor, request)
    assert job.volume is not None
    form = browser.get(f"/jobs/new/?clone={job.public_id}").context["form"]
    values = {name: form[name].value() for name in form.fields if name != "form_key"}
    assert values == {
        "name": "again", "pool": "a100", "gpus": 3, "nodes": 1, "environment": "system",
        "hours": 1, "minutes": 30, "retries": 2, "command": "echo x", "env": "A=b\n",
        "project": "vision", "max_cost": 25, "volume": job.volume.public_id,
    }  # fmt: skip


def test_a_volume_is_mounted_in_the_job(browser: Client, actor: Actor) -> None:
    volume = make_volume(actor)
    assert volume.name in browser.get("/jobs/new/").content.decode()
    browser.post("/jobs/new/", GOOD | {"volume": volume.public_id})
    assert Workload.objects.get().volume == volume


def test_a_notebook_is_run_as_a_job_where_it_was(browser: Client, actor: Actor) -> None:
    notebook = launched(actor, gpus=2, project="vision", volume=make_volume(actor).public_id)
    form = browser.get(f"/jobs/new/?notebook={notebook.public_id}").context["form"]
    assert notebook.volume is not None
    assert [form[name].value() for name in ("name", "gpus", "project", "volume", "command")] == [
        "explore", 2, "vision", notebook.volume.public_id, None,
    ]  # fmt: skip


def test_anothers_job_is_not_cloned(
    charlie: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    job = launch(actor, JobRequest("a", "a100", 1, "true"))
    assert client_of(charlie).get(f"/jobs/new/?clone={job.public_id}").status_code == 404


def test_what_was_used_last_is_remembered(browser: Client) -> None:
    browser.post("/jobs/new/", GOOD | {"environment": "system", "gpus": "3"})
    form = browser.get("/jobs/new/").context["form"]
    assert [form[name].value() for name in ("gpus", "environment", "minutes", "command")] == [
        3, "system", 30, None,
    ]  # fmt: skip


def test_the_quote_follows_what_is_typed(browser: Client) -> None:
    asked = {"pool": "a100", "gpus": "2", "hours": "2", "minutes": "0"}
    page = browser.get("/jobs/quote/", asked).content.decode()
    assert "$4.20/h" in page
    assert "$8.40" in page
    assert "Starts at once." in page
    assert "Launch 2 \N{MULTIPLICATION SIGN} A100 test · $4.20/h" in page


def test_a_quote_that_cannot_be_paid_promises_neither_a_start_nor_a_runway(
    browser: Client, team: Team
) -> None:
    take_hold(
        ensure_account(team), resource_kind="workload", resource_id=9, amount_micros=49 * MICROS
    )
    page = browser.get("/jobs/quote/", {"pool": "a100", "gpus": "1", "hours": "1"}).content.decode()
    assert "$1.10 is missing for the hold." in page
    assert "Starts at once." not in page
    assert "<dt>Runway after launch</dt><dd>\N{EN DASH}</dd>" in page


@pytest.mark.parametrize(
    "change",
    [{"gpus": "x"}, {"gpus": "0"}, {"pool": "\0"}, {"hours": "-1"}, {"minutes": "9" * 30}],
)
def test_a_quote_of_nonsense_asks_for_more(browser: Client, change: dict[str, Any]) -> None:
    asked = {"pool": "a100", "gpus": "2", "hours": "2", "minutes": "0"} | change
    response = browser.get("/jobs/quote/", asked)
    assert response.status_code == 200
    assert "the price stands here" in response.content.decode()


def test_a_full_pool_says_how_long_the_wait_is_at_most(browser: Client, engine: Engine) -> None:
    from clusters.tasks import drive_pool

    browser.post("/jobs/new/", GOOD | {"gpus": "4"})
    drive_pool(engine.pool.pk)
    page = browser.get("/jobs/quote/", {"pool": "a100", "gpus": "1", "hours": "1"}).content.decode()
    assert "It waits for GPUs first: at most 30 min" in page


# --- the same form twice ---


def shown_form(browser: Client) -> dict[str, str]:
    """What a page that was just opened would send."""
    key = browser.get("/jobs/new/").context["form"]["form_key"].value()
    return GOOD | {"form_key": str(key)}


def test_a_form_sent_twice_launches_once(browser: Client) -> None:
    form = shown_form(browser)
    first, second = browser.post("/jobs/new/", form), browser.post("/jobs/new/", form, follow=True)
    assert Workload.objects.count() == 1
    assert second.redirect_chain == [(first["Location"], 303)]
    assert "launched from this form already" in second.content.decode()


def test_a_form_that_was_changed_launches_again(browser: Client) -> None:
    form = shown_form(browser)
    browser.post("/jobs/new/", form)
    browser.post("/jobs/new/", form | {"gpus": "1"})
    assert sorted(Workload.objects.values_list("gpus", flat=True)) == [1, 2]


def test_a_form_opened_again_launches_again(browser: Client) -> None:
    for _ in range(2):
        browser.post("/jobs/new/", shown_form(browser))
    assert Workload.objects.count() == 2


def test_a_form_that_was_refused_may_be_sent_again(browser: Client) -> None:
    form = shown_form(browser)
    refused = browser.post("/jobs/new/", form | {"gpus": "99"})
    assert refused.context["form"]["form_key"].value() == form["form_key"]
    browser.post("/jobs/new/", form)
    assert Workload.objects.count() == 1


@pytest.mark.parametrize("key", ["", "short", "x" * 300, "<script>alert(1)</script>", "a\nb" * 9])
def test_a_key_that_is_none_of_ours_guards_nothing_and_harms_nothing(
    browser: Client, key: str
) -> None:
    assert browser.post("/jobs/new/", GOOD | {"form_key": key}).status_code == 303
