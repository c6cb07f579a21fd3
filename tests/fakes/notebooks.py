"""Notebooks at each stage of their life, as the tests of a fake engine need them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import transaction

from accounts.access import team_of
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.apps import note_ready
from clusters.actions.notebook_checks import NotebookRequest
from clusters.actions.notebooks import launch_notebook, stop_notebook
from clusters.backends.base import EndReason
from clusters.choices import AppState, AttemptState, Service
from clusters.models import App, Attempt, Side, Volume, Workload
from tests.conftest import Engine
from tests.fakes.loop import tick

REQUEST = NotebookRequest("explore", "a100", 1, "python-data", lifetime_seconds=7200)


def launched(actor: Actor, **changes: Any) -> Workload:
    """One that waits. A refusal leaves the test's own transaction whole."""
    with transaction.atomic():
        return launch_notebook(actor, replace(REQUEST, **changes))[0]


def starting(actor: Actor, **changes: Any) -> Workload:
    """One that has its GPUs and whose server starts."""
    made = launched(actor, **changes)
    tick()
    return fresh(made)


def running(actor: Actor, **changes: Any) -> Workload:
    """One whose server answers."""
    made = starting(actor, **changes)
    let_answer(made)
    return fresh(made)


def stopped(actor: Actor, engine: Engine, **changes: Any) -> Workload:
    """One that ran and rests."""
    made = running(actor, **changes)
    stop_notebook(actor, made.public_id)
    end(engine, made, EndReason.STOPPED)
    return fresh(made)


def let_answer(notebook: Workload) -> None:
    """What the proxy tells the portal once the server answers."""
    note_ready(App.objects.exclude(state=AppState.CLOSED).get(workload=notebook).pk)


def end(engine: Engine, notebook: Workload, reason: EndReason, *, detail: str = "") -> None:
    """Its live attempt ends so."""
    live = Attempt.objects.exclude(state=AttemptState.ENDED).get(workload=notebook)
    engine.backend.end(live.external_name, reason, detail=detail)
    tick()


def fresh(notebook: Workload) -> Workload:
    """The notebook as it stands, with what is a notebook's own."""
    return Workload.objects.select_related("notebook", "pool", "price").get(pk=notebook.pk)


def make_volume(actor: Actor, **columns: Any) -> Volume:
    """A volume of the actor's team in the storage of the fake engine."""
    values = {"backend": "local", "name": "data", "size_gib": 10, **columns}
    return Volume.objects.create(team=team_of(actor), created_by=person(actor), **values)


def make_side(actor: Actor, notebook: Workload) -> App:
    """A TensorBoard beside a notebook, served as `tb-side-1`."""
    side = Side.objects.create(
        public_id="side_1",
        team=team_of(actor),
        created_by=person(actor),
        service=Service.TENSORBOARD,
        workload=notebook,
        external_name="side-1",
    )
    return App.objects.create(name="tb-side-1", service=Service.TENSORBOARD, side=side)


def person(actor: Actor) -> User:
    """Who acts."""
    assert actor.user is not None
    return actor.user
