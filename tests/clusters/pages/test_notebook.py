"""A notebook's page, and what is done from it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.accounts import ensure_account
from billing.actions.holds import take_hold
from billing.queries.funds import funds_of
from clusters.actions.apps import note_failure
from clusters.actions.notebook_shares import follow_share, share_notebook
from clusters.actions.notebooks import start_notebook
from clusters.backends.base import EndReason
from clusters.choices import AppState, Verdict
from clusters.models import (
    App,
    Attempt,
    IdleCheck,
    IdleStop,
    Notebook,
    NotebookShare,
    Workload,
    WorkloadEvent,
)
from clusters.queries.notebooks import look
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.bad_backends import QueueingBackend
from tests.fakes.loop import tick
from tests.fakes.notebooks import (
    end,
    fresh,
    launched,
    let_answer,
    make_volume,
    running,
    starting,
    stopped,
)

SignIn = Callable[[User], Client]
Page = Callable[..., str]


@pytest.fixture
def browser(alice: User, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


def page_of(notebook: Workload, part: str = "") -> str:
    return f"/notebooks/{notebook.public_id}/{part}"


@pytest.fixture
def text(browser: Client) -> Page:
    """A part of the page as text, tags and runs of white space left out."""

    def read(notebook: Workload, part: str = "status/", client: Client = browser) -> str:
        response = client.get(page_of(notebook, part))
        assert response.status_code == 200
        bare = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
        return re.sub(r"\s+([.,])", r"\1", re.sub(r"\s+", " ", bare))

    return read


def steps(browser: Client, notebook: Workload) -> list[tuple[str, str]]:
    """The way to being ready: each step and its state."""
    shown = browser.get(page_of(notebook, "status/")).context["steps"]
    return [(step["title"], step["state"]) for step in shown]


# --- the way to being ready ---


def test_one_that_waits_says_where_in_the_queue(browser: Client, actor: Actor, text: Page) -> None:
    running(actor, gpus=4)
    notebook = launched(actor)
    tick()
    assert steps(browser, notebook) == [
        ("In the queue", "now"),
        ("GPUs allotted", "next"),
        ("Sandbox made", "next"),
        ("Server started", "next"),
        ("Ready", "next"),
    ]
    assert "Waiting for free GPUs. Next in the queue. Starts within 2 h" in text(notebook)


def test_each_step_keeps_the_time_it_was_reached(browser: Client, actor: Actor) -> None:
    notebook = starting(actor)
    assert steps(browser, notebook) == [
        ("Queued", "done"),
        ("GPUs allotted", "done"),
        ("Sandbox made", "done"),
        ("Server starting", "now"),
        ("Ready", "next"),
    ]
    events = {event.reason: event.at for event in WorkloadEvent.objects.all()}
    shown = browser.get(page_of(notebook)).context["steps"]
    assert [step.get("at") for step in shown[:3]] == [
        events["waiting_for_gpus"], events["starting"], events["server_starting"],
    ]  # fmt: skip
    let_answer(notebook)
    assert steps(browser, notebook)[3:] == [("Server started", "done"), ("Ready", "done")]


def test_what_a_starting_server_answers_is_told(actor: Actor, text: Page, engine: Engine) -> None:
    notebook = starting(actor)
    note_failure(App.objects.get().pk, "It answers 500: no module named notebook.")
    assert "It answers 500: no module named notebook." in text(notebook)


def test_a_retry_begins_the_way_anew(browser: Client, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    end(engine, notebook, EndReason.NODE_LOST)
    assert steps(browser, notebook)[3:] == [("Server starting", "now"), ("Ready", "next")]


def test_a_start_begins_the_way_anew(browser: Client, actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    start_notebook(actor, notebook.public_id)
    assert steps(browser, notebook)[0] == ("In the queue", "now")


@pytest.mark.parametrize("engine_class", [QueueingBackend])
def test_an_engine_that_allots_by_itself_has_no_step_for_it(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    # Such an engine of ours serves nothing yet, so the notebook is one by its kind alone.
    from clusters.actions.jobs import launch
    from clusters.actions.launch_checks import JobRequest

    job = launch(actor, JobRequest("explore", "a100", 1, "true"))
    Workload.objects.filter(pk=job.pk).update(kind="notebook", public_id="nb_1")
    Notebook.objects.create(workload=job, idle_minutes=0)
    titles = [title for title, _ in steps(browser, Workload.objects.get())]
    assert titles == ["In the queue", "Sandbox made", "Server started", "Ready"]


def test_a_failure_says_what_why_and_what_to_do(
    browser: Client, actor: Actor, engine: Engine, text: Page
) -> None:
    notebook = starting(actor)
    note_failure(App.objects.get().pk, "500: no module named notebook.")
    end(engine, notebook, EndReason.OUT_OF_MEMORY)
    said = text(notebook)
    assert "The last that was heard of its server: 500: no module named notebook." in said
    assert "It failed: used more memory than it was given" in said
    assert "You can start it again, or launch a copy" in said
    assert "data-log-peek" in browser.get(page_of(notebook, "status/")).content.decode()
    assert steps(browser, notebook)[-1] == ("Failed", "bad")


def test_a_stop_ends_the_way(browser: Client, actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    assert steps(browser, notebook)[-1] == ("Stopped", "done")


# --- what can be done ---


@pytest.mark.parametrize("query", ["", "?next=/lab/tree/x"])
def test_one_that_is_ready_opens_in_a_tab_of_its_own(
    browser: Client, actor: Actor, query: str
) -> None:
    page = browser.get(page_of(running(actor), query)).content.decode()
    assert re.search(r'id="open-button" href="/open/nb-\w+/[^"]*" target="_blank"', page)
    assert ("next=%2Flab%2Ftree%2Fx" in page) == bool(query)


def test_only_the_page_that_was_told_to_opens_by_itself(browser: Client, actor: Actor) -> None:
    notebook = starting(actor)
    assert "data-opens" not in browser.get(page_of(notebook)).content.decode()
    assert "data-opens" in browser.get(page_of(notebook, "?open=1")).content.decode()


def test_the_socket_goes_on_after_the_last_step_that_is_shown(
    browser: Client, actor: Actor
) -> None:
    notebook = starting(actor)
    last = WorkloadEvent.objects.filter(workload=notebook).order_by("-pk").first()
    assert last is not None
    page = browser.get(page_of(notebook)).content.decode()
    assert f'data-socket="/ws{page_of(notebook)}" data-after="{last.pk}"' in page


def test_another_member_sees_it_and_is_told_whom_to_ask(
    bob: User, actor: Actor, text: Page, client_of: SignIn
) -> None:
    notebook = running(actor)
    theirs = client_of(bob)
    assert "This is the notebook of alice@example.org." in text(notebook, client=theirs)
    page = theirs.get(page_of(notebook)).content.decode()
    assert 'id="open-button"' not in page
    assert 'id="share-button"' not in page
    for deed in ("start", "stop", "keep", "stops", "remove"):
        data = {"idle": "30"}
        assert theirs.post(page_of(notebook, f"{deed}/"), data).status_code == 403, deed


def test_whom_its_person_let_in_opens_and_stops_it_and_shares_it_not(
    bob: User, actor: Actor, client_of: SignIn, engine: Engine
) -> None:
    notebook = running(actor)
    follow_share(actor_of_user(bob), share_notebook(actor, notebook.public_id)[1])
    theirs = client_of(bob)
    page = theirs.get(page_of(notebook)).content.decode()
    assert 'id="open-button"' in page
    assert 'id="share-button"' not in page
    assert theirs.get(page_of(notebook, "shares/")).status_code == 403
    assert theirs.post(page_of(notebook, "stop/")).status_code == 303


@pytest.mark.parametrize(
    "part", ["", "status/", "log/download", "telemetry.json", "idle.json", "shares/", "stop/"]
)
def test_strangers_find_none_of_it(
    charlie: User, actor: Actor, engine: Engine, client_of: SignIn, part: str
) -> None:
    assert client_of(charlie).get(page_of(running(actor), part)).status_code == 404


@pytest.mark.parametrize("deed", ["start", "keep", "stops", "remove"])
def test_a_get_does_nothing(browser: Client, actor: Actor, deed: str) -> None:
    assert browser.get(page_of(running(actor), f"{deed}/")).status_code == 405


# --- stop, start, keep, remove ---


def test_before_a_stop_it_is_said_what_still_costs_and_what_is_lost(
    browser: Client, actor: Actor, text: Page
) -> None:
    notebook = running(actor, gpus=2)
    said = text(notebook, "stop/")
    assert "Up to $0.0117 for those seconds" in said
    assert "$4.20/h is saved" in said
    assert "What is in memory only" in said
    assert "It can be started again." in said
    assert "data-open-now" in browser.get(page_of(notebook, "stop/")).content.decode()


def test_a_stop_is_asked_for_and_told(browser: Client, actor: Actor) -> None:
    notebook = running(actor)
    response = browser.post(page_of(notebook, "stop/"), follow=True)
    assert "Asked to stop. It may still save its work." in response.content.decode()
    assert fresh(notebook).status == "stopping"


def test_stopping_what_rests_says_so(browser: Client, actor: Actor, engine: Engine) -> None:
    response = browser.post(page_of(stopped(actor, engine), "stop/"), follow=True)
    assert "It had stopped already." in response.content.decode()


def test_a_start_leads_to_the_page_that_opens_it_where_it_was_asked_for(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)
    response = browser.post(page_of(notebook, "start/"), {"next": "/lab/tree/x"})
    assert response["Location"] == page_of(notebook, "?open=1&next=%2Flab%2Ftree%2Fx")
    assert fresh(notebook).status == "queued"


def test_without_funds_the_page_says_how_to_start(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)
    account = ensure_account(actor.team)  # type: ignore[arg-type]
    left = funds_of(account).available_micros
    take_hold(account, resource_kind="tests", resource_id=1, amount_micros=left)
    response = browser.post(page_of(notebook, "start/"), follow=True)
    assert response.redirect_chain == [(page_of(notebook), 303)]
    assert "Add credit under Billing" in response.content.decode()


def test_without_its_volume_the_page_says_why_it_does_not_start(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    notebook = stopped(actor, engine, volume=volume.public_id)
    volume.removed_at = clock.now()
    volume.save()
    response = browser.post(page_of(notebook, "start/"), follow=True)
    assert "There is no such volume." in response.content.decode()


def test_a_countdown_says_why_and_can_be_sent_away(
    browser: Client, actor: Actor, text: Page
) -> None:
    notebook = running(actor)
    soon = clock.now() + timedelta(minutes=8)
    Notebook.objects.update(stops_at=soon, stops_for="idle", idle_since=clock.now())
    assert "It stops in 8 min. Nothing has been done in it for 0 s." in text(notebook)
    response = browser.post(page_of(notebook, "keep/"), follow=True)
    assert "Kept for an hour" in response.content.decode()
    assert "It stops in" not in text(notebook)


def test_a_countdown_to_a_set_time_is_no_matter_of_keeping(
    browser: Client, actor: Actor, text: Page
) -> None:
    notebook = running(actor)
    Notebook.objects.update(stops_at=clock.now() + timedelta(minutes=8), stops_for="stop_time")
    assert "At the time it was told to. Change that under Idle." in text(notebook)
    assert "Keep it 1 h" not in text(notebook)


def test_a_removed_one_is_listed_no_more(browser: Client, actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    response = browser.post(page_of(notebook, "remove/"), follow=True)
    assert response.redirect_chain == [("/notebooks/", 303)]
    assert browser.get(page_of(notebook)).status_code == 404


def test_one_that_runs_is_not_removed(browser: Client, actor: Actor) -> None:
    response = browser.post(page_of(running(actor), "remove/"), follow=True)
    assert "Stop the notebook before you remove it." in response.content.decode()


# --- when it stops by itself ---


def test_new_stops_are_saved_in_the_persons_time(browser: Client, actor: Actor) -> None:
    notebook = running(actor)
    wanted = (clock.now() + timedelta(days=1)).replace(second=0, microsecond=0)
    data = {
        "idle": "240",
        "stop_at": (wanted - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M"),
        "utc_offset": "300",
    }
    response = browser.post(page_of(notebook, "stops/"), data)
    own = Notebook.objects.get(workload=notebook)
    assert (response.status_code, own.idle_minutes, own.stop_at) == (200, 240, wanted)
    assert "Saved. It holds at once." in response.content.decode()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("idle", "", "Choose how long"),
        ("idle", "2", "Choose 5 to"),
        ("stop_at", "2020-01-01T10:00", "Choose a time to come"),
        ("stop_at", "x", "Write a date and a time."),
    ],
)
def test_stops_that_make_no_sense_are_refused_at_their_field(
    browser: Client, actor: Actor, field: str, value: str, sentence: str
) -> None:
    notebook = running(actor, idle_minutes=60)
    response = browser.post(page_of(notebook, "stops/"), {"idle": "30", field: value})
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert Notebook.objects.get().idle_minutes == 60


def test_its_stops_are_told_beside_its_status(actor: Actor, text: Page) -> None:
    notebook = running(actor, idle_minutes=90)
    assert "Stops when idle for 1 h 30 min" in text(notebook)
    Notebook.objects.update(stop_at=clock.now() + timedelta(hours=3), idle_minutes=0)
    assert "Stops in 3 h Not for idleness" in text(notebook)


# --- evidence ---


def make_look(notebook: Workload, ago: int, verdict: Verdict, **columns: Any) -> IdleCheck:
    return IdleCheck.objects.create(
        workload=notebook,
        attempt_number=columns.pop("attempt_number", 1),
        at=clock.now() - timedelta(minutes=ago),
        verdict=verdict,
        **columns,
    )


def test_each_look_is_told_as_it_was_and_the_unknown_as_unknown(
    browser: Client, actor: Actor
) -> None:
    notebook = running(actor)
    make_look(notebook, 2, Verdict.BUSY, kernels=1, kernels_busy=1, gpu_percent=93.5, words="1 ran")
    make_look(notebook, 1, Verdict.UNKNOWN, words="Not known: GPU use")
    make_look(notebook, 0, Verdict.IDLE, attempt_number=7)
    told = browser.get(page_of(notebook, "idle.json"))
    first, second = told.json()["looks"]
    assert told["Cache-Control"] == "no-store"
    assert (first["verdict"], first["gpu_percent"], first["words"]) == ("busy", 93.5, "1 ran")
    assert (second["verdict"], second["gpu_percent"], second["connections"]) == (
        "unknown", None, None,
    )  # fmt: skip
    assert first["at"] < second["at"]


def test_why_it_was_stopped_as_idle_is_kept(browser: Client, actor: Actor, text: Page) -> None:
    notebook = running(actor)
    looks = [
        make_look(notebook, 1, Verdict.IDLE, kernels_busy=0, gpu_percent=0.4, cpu_percent=2),
        make_look(notebook, 0, Verdict.UNKNOWN),
    ]
    IdleStop.objects.create(
        workload=notebook,
        attempt_number=1,
        idle_since=clock.now() - timedelta(hours=1),
        idle_minutes=60,
        evidence=[look(one) for one in looks],
    )
    said = text(notebook, "")
    assert "after 1 h of idleness, attempt 1" in said
    assert "Idle 0 0 % 2 %" in said
    assert "Unknown \N{EN DASH} \N{EN DASH} \N{EN DASH}" in said


# --- shares ---


def test_a_link_is_shown_once_and_listed_without_its_secret(
    browser: Client, actor: Actor, bob: User
) -> None:
    notebook = running(actor)
    made = browser.post(page_of(notebook, "shares/"), headers={"HX-Request": "true"})
    link = re.search(r"http://\S+/shared/(fgs_[\w-]+)/", made.content.decode())
    assert link is not None
    assert made["Cache-Control"] == "no-store"
    follow_share(actor_of_user(bob), link[1])
    listed = browser.get(page_of(notebook, "shares/")).content.decode()
    assert link[1] not in listed
    assert "Lets in bob@example.org" in re.sub(r"\s+", " ", listed)


def test_a_link_is_revoked(browser: Client, actor: Actor) -> None:
    notebook = running(actor)
    share, _ = share_notebook(actor, notebook.public_id)
    url = page_of(notebook, f"shares/{share.public_id}/revoke/")
    assert "There is no link yet." in browser.post(url).content.decode()
    assert browser.post(url).status_code == 404
    assert NotebookShare.objects.get().revoked_at is not None


def test_one_link_too_many_is_refused_in_the_dialog(browser: Client, actor: Actor) -> None:
    notebook = running(actor)
    for _ in range(20):
        share_notebook(actor, notebook.public_id)
    response = browser.post(page_of(notebook, "shares/"), headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert "Revoke one." in response.content.decode()


# --- its parts ---


def test_its_log_is_downloaded(browser: Client, actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    engine.backend.logs[Attempt.objects.get().external_name] = b"one\n"
    response = browser.get(page_of(notebook, "log/download"))
    assert response["Content-Disposition"].endswith(f'"{notebook.public_id}.log"')


def test_each_start_is_an_attempt_and_no_retry(actor: Actor, engine: Engine, text: Page) -> None:
    notebook = stopped(actor, engine)
    start_notebook(actor, notebook.public_id)
    tick()
    let_answer(notebook)
    said = text(notebook)
    assert "Stopped on request Started again" in said
    assert "Run again" not in said
    assert "Attempt 2 follows" not in said


def test_a_lost_machine_is_told_as_a_retry(actor: Actor, engine: Engine, text: Page) -> None:
    notebook = running(actor)
    end(engine, notebook, EndReason.NODE_LOST)
    said = text(notebook)
    assert "The machine it ran on went away Run again" in said
    assert "Attempt 2" in said


def test_a_page_costs_the_same_queries_for_1_and_4_attempts(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get(page_of(notebook))
        return len(queries)

    count()  # what is cached for every page
    one = count()
    for _ in range(3):
        start_notebook(actor, notebook.public_id)
        tick()
        end(engine, notebook, EndReason.STOPPED)
    assert count() == one
    assert one <= 30
    assert not App.objects.exclude(state=AppState.CLOSED).exists()
