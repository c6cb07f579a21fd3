"""A terminal in work that runs: who has one, where, and what is said where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import AuditEvent, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebooks import remove_notebook
from clusters.actions.terminals import open_terminal, wake_terminal
from clusters.backends.base import Endpoint, EndReason
from clusters.choices import AppState, Service
from clusters.models import App, Attempt, Workload
from portal.lib.errors import Conflict, NotAllowed, NotFound, Unavailable
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.notebooks import end, fresh, launched, running, stopped


def job_of(actor: Actor) -> Workload:
    """One that runs."""
    made = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    tick()
    return Workload.objects.get(pk=made.pk)


def asked(engine: Engine) -> list[str]:
    """The attempts whose engine was asked for a terminal."""
    backend: Any = engine.backend
    names: list[str] = backend.terminals
    return names


@pytest.mark.parametrize("make", [job_of, running])
def test_a_job_and_a_notebook_that_run_have_one(actor: Actor, engine: Engine, make: Any) -> None:
    run = make(actor)
    app = open_terminal(actor, run.public_id)
    attempt = Attempt.objects.get(workload=run)
    assert asked(engine) == [attempt.external_name]
    assert (app.name, app.service) == (
        f"term-{run.public_id.replace('_', '-')}",
        Service.TERMINAL,
    )
    assert (app.attempt, app.state, app.endpoint["port"]) == (attempt, AppState.STARTING, 1)


def test_opened_again_it_is_the_same_and_its_server_is_asked_for_once_more(
    actor: Actor, engine: Engine
) -> None:
    run = job_of(actor)
    first, second = (open_terminal(actor, run.public_id) for _ in range(2))
    assert first == second
    assert len(asked(engine)) == 2


def test_where_one_listened_that_has_ended_is_forgotten_until_it_is_there_again(
    actor: Actor, engine: Engine
) -> None:
    backend: Any = engine.backend
    run = job_of(actor)
    app = open_terminal(actor, run.public_id)
    backend.everywhere = None
    tick()
    app.refresh_from_db()
    assert (app.endpoint, app.state) == ({}, AppState.STARTING)
    backend.everywhere = Endpoint(host="127.0.0.1", port=2, token="t2")
    wake_terminal(actor, run.public_id)
    app.refresh_from_db()
    assert (app.endpoint["port"], app.endpoint["token"]) == (2, "t2")


def test_it_ends_with_what_runs(actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    open_terminal(actor, notebook.public_id)
    end(engine, notebook, EndReason.STOPPED)
    assert not App.objects.exclude(state=AppState.CLOSED).exists()


def test_who_opened_one_is_written_down(actor: Actor, engine: Engine) -> None:
    run = job_of(actor)
    open_terminal(actor, run.public_id)
    wake_terminal(actor, run.public_id)
    entry = AuditEvent.objects.get(verb="terminal.opened")
    assert (entry.user, entry.object_id) == (actor.user, run.public_id)


def test_owners_may_and_other_members_may_not(
    actor: Actor, member: Actor, charlie: User, engine: Engine
) -> None:
    theirs, mine = job_of(member), job_of(actor)
    open_terminal(actor, theirs.public_id)
    open_terminal(member, theirs.public_id)
    for verb in (open_terminal, wake_terminal):
        with pytest.raises(NotAllowed):
            verb(member, mine.public_id)
        with pytest.raises(NotFound):
            verb(actor_of_user(charlie), mine.public_id)
    assert len(asked(engine)) == 2


def test_what_does_not_run_has_none(actor: Actor, engine: Engine) -> None:
    rests = stopped(actor, engine, name="rests")
    waiting = launched(actor)
    for run in (waiting, rests):
        for verb in (open_terminal, wake_terminal):
            with pytest.raises(Conflict, match="does not run now"):
                verb(actor, run.public_id)
    remove_notebook(actor, rests.public_id)
    with pytest.raises(NotFound):
        open_terminal(actor, rests.public_id)
    assert asked(engine) == []


def test_why_there_is_none_is_said_in_the_engines_words(actor: Actor, engine: Engine) -> None:
    run = job_of(actor)
    backend: Any = engine.backend
    backend.no_terminal = "A terminal needs the prepared environment `tools`."
    with pytest.raises(Conflict, match="the prepared environment `tools`"):
        open_terminal(actor, run.public_id)
    assert not App.objects.exists()


def test_an_engine_that_does_not_answer_changes_nothing(actor: Actor, engine: Engine) -> None:
    run = job_of(actor)
    engine.backend.is_down = True
    with pytest.raises(Unavailable, match="Try again shortly"):
        open_terminal(actor, run.public_id)
    assert not App.objects.exists()


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_an_engine_without_terminals_is_named(actor: Actor, engine: Engine) -> None:
    run = job_of(actor)
    with pytest.raises(Conflict, match=f"The machines of {engine.pool.name} give no terminals"):
        open_terminal(actor, run.public_id)


def test_a_terminal_is_not_taken_for_the_notebooks_own_server(actor: Actor, engine: Engine) -> None:
    backend: Any = engine.backend
    backend.everywhere, everywhere = None, backend.everywhere
    notebook = launched(actor)
    tick()
    backend.everywhere = everywhere
    open_terminal(actor, notebook.public_id)
    tick()
    services = set(App.objects.values_list("service", flat=True))
    assert services == {Service.LAB, Service.TERMINAL}
    assert fresh(notebook).status == "running"
