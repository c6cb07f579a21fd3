"""The form of a schedule: what it makes, what it refuses, and what it starts with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from clusters.actions.schedules import MAX_SCHEDULES
from clusters.models import Schedule, Volume, Workload
from tests.conftest import Engine
from tests.fakes.notebooks import launched
from tests.fakes.schedules import make_schedule, make_volume

SignIn = Callable[[User], Client]
HOME = "/notebooks/schedules/"
URL = f"{HOME}new/"
PARAMETERS = {
    "days": 7,
    "rate": 0.5,
    "who": 'Zo\u00eb\'s "team"',
    "digits": "7",
    "lines": "a\nb",
    "padded": " x ",
    "nothing": "",
    "truth": True,
    "none": None,
    "inner": {"a": [1, "b"]},
}


@pytest.fixture
def volume(actor: Actor, engine: Engine) -> Volume:
    return make_volume(actor)


@pytest.fixture
def browser(alice: User, team: Team, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


@pytest.fixture
def good(volume: Volume) -> dict[str, str]:
    return {
        "name": "daily report",
        "volume": volume.public_id,
        "notebook": "/workspace/reports/daily.ipynb",
        "output_folder": "",
        "parameters": "days=7\r\nwho=all of us\r\n",
        "cron": "0 3 * * 1-5",
        "timezone": "Europe/Berlin",
        "skips_while_running": "on",
        "pool": "a100",
        "gpus": "2",
        "environment": "python-data",
        "hours": "0",
        "minutes": "10",
        "max_cost": "2.50",
        "form_key": "k" * 24,
    }


def filled_in(browser: Client, url: str) -> dict[str, Any]:
    """What the form would send as it is shown."""
    form = browser.get(url).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value not in (None, False)}


def test_a_good_form_makes_a_schedule_and_leads_to_it(
    browser: Client, good: dict[str, str]
) -> None:
    response = browser.post(URL, good)
    made = Schedule.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"{HOME}{made.public_id}/")
    assert (made.notebook, made.cron, made.gpus) == ("reports/daily.ipynb", "0 3 * * 1-5", 2)
    assert (made.time_limit_seconds, made.max_cost_micros) == (600, 2_500_000)
    assert made.parameters == {"days": 7, "who": "all of us"}
    assert (made.skips_while_running, made.catches_up) == (True, False)
    assert made.runs_as.email == "alice@example.org"


def test_the_same_form_sent_twice_makes_one(browser: Client, good: dict[str, str]) -> None:
    assert browser.post(URL, good)["Location"] == browser.post(URL, good)["Location"]
    assert Schedule.objects.count() == 1


def test_run_once_launches_a_job_and_makes_no_schedule(
    browser: Client, good: dict[str, str]
) -> None:
    response = browser.post(URL, good | {"once": "1", "cron": ""})
    job = Workload.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"/jobs/{job.public_id}/")
    assert "fastgpu.run_notebook" in job.command
    assert "reports/daily.ipynb" in job.command
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Give it a name."),
        ("volume", "", "Choose the volume that the notebook lies in."),
        ("volume", "vol_nothing", "There is no such volume."),
        ("notebook", "", "Say which notebook"),
        ("notebook", "train.py", "ends with .ipynb"),
        ("notebook", "../x.ipynb", "without . and .."),
        ("output_folder", "/etc", "mounted at /workspace"),
        ("parameters", "days", "Line 1 has no =."),
        ("parameters", "a=1\na=2", "a is set twice."),
        ("parameters", "not a name=1", "is no name of a variable"),
        ("parameters", "a=NaN", "not JSON text or a number"),
        ("parameters", "a=" + "[" * 400 + "]" * 400, "nests more than 20 deep"),
        ("parameters", "a=" + "x" * 30_000, "at most 20,000 are taken"),
        ("cron", "", "Write five fields"),
        ("cron", "61 * * * *", "The field for the minute cannot be read."),
        ("cron", "0 0 31 2 *", "The field for the day of month cannot be read."),
        ("timezone", "", "Say in which time zone"),
        ("timezone", "Mars/Olympus", "There is no such time zone."),
        ("pool", "nowhere", "There is no such pool."),
        ("gpus", "9", "gives at most 4 GPUs"),
        ("environment", "system", "There is no such environment."),
        ("minutes", "0", "at least"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    browser: Client, good: dict[str, str], field: str, value: str, sentence: str
) -> None:
    response = browser.post(URL, good | {field: value})
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert not Schedule.objects.exists()


def test_too_many_are_refused_and_what_was_typed_is_kept(
    browser: Client, good: dict[str, str], actor: Actor, volume: Volume
) -> None:
    first = make_schedule(actor, volume)
    Schedule.objects.bulk_create(
        Schedule(
            team=first.team, created_by=first.created_by, runs_as=first.runs_as, volume=volume,
            pool=first.pool, next_at=first.next_at, name="x", cron=first.cron, notebook="x.ipynb",
            environment="python-data", time_limit_seconds=600,
        )
        for _ in range(MAX_SCHEDULES - 1)
    )  # fmt: skip
    response = browser.post(URL, good)
    assert response.status_code == 429
    assert "A team has at most 100 schedules." in response.content.decode()
    assert "all of us" in response.content.decode()


def test_a_notebook_fills_in_where_it_runs(browser: Client, actor: Actor, volume: Volume) -> None:
    notebook = launched(actor, gpus=3, volume=volume.public_id, project="vision")
    values = filled_in(browser, f"{URL}?notebook={notebook.public_id}")
    assert (values["name"], values["gpus"], values["project"]) == ("explore", 3, "vision")
    assert (values["volume"], values["environment"]) == (volume.public_id, "python-data")
    sent = values | {"notebook": "a.ipynb"}
    assert browser.post(URL, sent).status_code == 303


def test_a_file_of_a_volume_needs_nothing_more(browser: Client, volume: Volume) -> None:
    values = filled_in(browser, f"{URL}?volume={volume.public_id}&path=reports/weekly.ipynb")
    assert browser.post(URL, values).status_code == 303
    made = Schedule.objects.get()
    assert (made.name, made.notebook) == ("weekly", "reports/weekly.ipynb")
    assert made.volume == volume


@pytest.mark.parametrize("part", ["notebook=nb_nothing", "clone=sched_nothing", "notebook=%00"])
def test_what_is_not_the_teams_fills_in_nothing(browser: Client, part: str) -> None:
    assert browser.get(f"{URL}?{part}").status_code == (200 if part.endswith("%00") else 404)


def test_a_changed_form_keeps_all_it_does_not_name(
    browser: Client, actor: Actor, volume: Volume
) -> None:
    made = make_schedule(
        actor,
        volume,
        run={"parameters": PARAMETERS, "max_cost_micros": 1_500_000, "output_folder": "out"},
        catches_up=False,
    )
    url = f"{HOME}{made.public_id}/edit/"
    response = browser.post(url, filled_in(browser, url) | {"cron": "0 5 * * *"})
    assert (response.status_code, response["Location"]) == (303, f"{HOME}{made.public_id}/")
    changed = Schedule.objects.get()
    assert changed.cron == "0 5 * * *"
    assert changed.parameters == PARAMETERS
    assert (changed.max_cost_micros, changed.output_folder) == (1_500_000, "out")
    assert (changed.skips_while_running, changed.catches_up) == (True, False)


def test_a_copy_is_another_schedule(browser: Client, actor: Actor, volume: Volume) -> None:
    made = make_schedule(actor, volume, run={"parameters": PARAMETERS})
    assert browser.post(URL, filled_in(browser, f"{URL}?clone={made.public_id}")).status_code == 303
    assert [one.parameters for one in Schedule.objects.all()] == [PARAMETERS] * 2


def test_a_bad_change_changes_nothing(browser: Client, actor: Actor, volume: Volume) -> None:
    made = make_schedule(actor, volume)
    url = f"{HOME}{made.public_id}/edit/"
    response = browser.post(url, filled_in(browser, url) | {"notebook": "x.py"})
    assert response.status_code == 400
    assert "ends with .ipynb" in response.content.decode()
    assert Schedule.objects.get().notebook == "reports/daily.ipynb"


def test_anothers_schedule_is_not_changed(
    bob: User, actor: Actor, volume: Volume, client_of: SignIn
) -> None:
    made = make_schedule(actor, volume)
    url = f"{HOME}{made.public_id}/edit/"
    assert client_of(bob).get(url).status_code == 403
    assert client_of(bob).post(url, {"cron": "0 5 * * *"}).status_code == 403


def test_the_times_follow_what_is_typed(browser: Client) -> None:
    def said(cron: str, zone: str) -> str:
        return browser.get(f"{HOME}times/", {"cron": cron, "timezone": zone}).content.decode()

    page = said("30 3 * * *", "Asia/Kolkata")
    assert page.count(", 03:30</span>") == 5
    assert "Asia/Kolkata" in page
    assert "five fields" in said("soon", "UTC")
    assert "no such time zone" in said("0 3 * * *", "Mars")
    assert "Say when" in said("", "UTC")


def test_the_price_of_a_run_follows_what_is_typed(browser: Client) -> None:
    asked = {"pool": "a100", "gpus": "2", "hours": "1", "minutes": "0"}
    page = browser.get(f"{HOME}quote/", asked).content.decode()
    assert "$4.20/h" in page
    assert "hx-swap-oob" not in page


def test_the_parameters_of_the_form_are_plain_json_in_the_command(
    browser: Client, good: dict[str, str]
) -> None:
    browser.post(URL, good | {"once": "1", "parameters": 'a={"b": [1]}\nc=it\'s'})
    command = Workload.objects.get().command
    assert json.dumps({"a": {"b": [1]}}).strip("{}") in command
