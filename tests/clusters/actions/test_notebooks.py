"""Notebooks: launched, stopped, started again, kept, removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import AuditEvent, User
from billing.models import Hold
from clusters.actions.apps import note_failure
from clusters.actions.notebook_shares import follow_share, share_notebook
from clusters.actions.notebooks import (
    keep_notebook,
    remove_notebook,
    set_stops,
    start_notebook,
    stop_notebook,
)
from clusters.backends.base import EndReason
from clusters.choices import AppState, AttemptState, Reason, WorkloadStatus
from clusters.models import App, Attempt, Notebook, Workload, WorkloadEvent
from portal.lib import clock
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, NotAllowed, NotFound
from tests.conftest import MICROS_PER_HOUR, Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.notebooks import (
    end,
    fresh,
    launched,
    make_volume,
    running,
    starting,
    stopped,
)

HOUR = timedelta(hours=1)


def held() -> int:
    return sum(
        Hold.objects.filter(released_at__isnull=True).values_list("amount_micros", flat=True)
    )


# --- launch ---


def test_a_launch_queues_a_notebook_and_holds_its_first_hour(actor: Actor, engine: Engine) -> None:
    notebook = launched(actor, gpus=2, idle_minutes=30)
    assert notebook.public_id.startswith("nb_")
    assert (notebook.kind, notebook.status) == ("notebook", WorkloadStatus.QUEUED)
    assert notebook.notebook.idle_minutes == 30
    assert held() == 2 * MICROS_PER_HOUR


def test_idle_minutes_nobody_chose_are_those_of_the_settings(
    actor: Actor, engine: Engine, settings: Any
) -> None:
    settings.IDLE_MINUTES = 42
    assert launched(actor).notebook.idle_minutes == 42


def test_its_command_serves_and_its_volume_is_mounted(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor)
    notebook = starting(actor, volume=volume.public_id)
    spec = engine.backend.specs[Attempt.objects.get(workload=notebook).external_name]
    assert (spec.serves, spec.volume) == (True, volume.public_id)
    assert "fastgpu.lab" in spec.command


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "<b>"),
        ("name", "x" * 101),
        ("pool", "nowhere"),
        ("pool", "a\0b"),
        ("gpus", 0),
        ("gpus", 5),
        ("environment", "nothing"),
        ("environment", "system"),
        ("volume", "vol_nothing"),
        ("volume", "vol\0"),
        ("idle_minutes", 4),
        ("idle_minutes", 7 * 24 * 60 + 1),
        ("lifetime_seconds", 9),
        ("lifetime_seconds", 8 * 24 * 3600),
        ("stop_at", clock.now() - HOUR),
        ("project", "a\nb"),
        ("max_cost_micros", 1),
    ],
)
def test_what_is_wrong_with_a_launch_is_said_of_its_field_and_makes_nothing(
    actor: Actor, engine: Engine, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        launched(actor, **{field: value})
    assert set(refused.value.fields) == {field.removesuffix("_micros")}
    assert not Workload.objects.exists()
    assert not Hold.objects.exists()


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_a_pool_whose_engine_cannot_serve_runs_no_notebooks(actor: Actor, engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="runs no notebooks"):
        launched(actor)


def test_a_volume_of_other_storage_is_refused(actor: Actor, engine: Engine) -> None:
    far = make_volume(actor, backend="slurm", name="far")
    with pytest.raises(InvalidInput, match="lies in other storage"):
        launched(actor, volume=far.public_id)


def test_a_volume_of_another_team_is_none(actor: Actor, engine: Engine, charlie: User) -> None:
    theirs = make_volume(actor_of_user(charlie))
    with pytest.raises(InvalidInput, match="There is no such volume"):
        launched(actor, volume=theirs.public_id)


def test_without_funds_nothing_is_made(actor: Actor, engine: Engine) -> None:
    for _ in range(5):
        launched(actor, gpus=4)
    with pytest.raises(InsufficientFunds):
        launched(actor, gpus=4)
    assert Workload.objects.count() == Notebook.objects.count() == 5


# --- from the queue to the server ---


def test_it_runs_when_it_is_placed_and_is_ready_when_its_server_answers(
    actor: Actor, engine: Engine
) -> None:
    notebook = starting(actor)
    assert (notebook.status, notebook.reason) == ("running", Reason.SERVER_STARTING)
    notebook = running(actor, name="another")
    assert (notebook.status, notebook.reason) == ("running", Reason.RUNNING)


def test_a_server_that_never_answers_is_given_up_and_costs_nothing(
    actor: Actor, engine: Engine, settings: Any
) -> None:
    notebook = starting(actor)
    settings.SERVER_START_SECONDS = 0
    tick()
    assert fresh(notebook).status == WorkloadStatus.STOPPING
    end(engine, notebook, EndReason.STOPPED)
    notebook = fresh(notebook)
    assert (notebook.status, notebook.reason) == ("failed", Reason.SERVER_SILENT)


def test_the_end_of_a_silent_server_says_what_it_did_before_it_was_stopped(
    actor: Actor, engine: Engine, settings: Any
) -> None:
    notebook = starting(actor)
    app = App.objects.get(workload=notebook).pk
    note_failure(app, "answers 500")
    settings.SERVER_START_SECONDS = 0
    tick()
    note_failure(app, "does not listen yet")
    end(engine, notebook, EndReason.STOPPED)
    assert fresh(notebook).detail == "It answers 500."


# --- stop, start again ---


def test_a_stop_leaves_it_stopped_without_a_hold_or_a_route(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    assert (notebook.status, notebook.reason) == ("stopped", Reason.STOPPED)
    assert held() == 0
    assert not App.objects.exclude(state=AppState.CLOSED).exists()


def test_a_stop_in_the_queue_ends_it_there(actor: Actor, engine: Engine) -> None:
    notebook = launched(actor)
    stop_notebook(actor, notebook.public_id)
    notebook = fresh(notebook)
    assert (notebook.status, notebook.reason) == ("stopped", Reason.CANCELLED_IN_QUEUE)
    assert held() == 0


def test_what_is_stopping_is_asked_once_and_what_rests_not_again(
    actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    stop_notebook(actor, notebook.public_id)
    stop_notebook(actor, notebook.public_id)
    assert AuditEvent.objects.filter(verb="notebook.stopped").count() == 1
    end(engine, notebook, EndReason.STOPPED)
    with pytest.raises(Conflict, match="The notebook has ended already"):
        stop_notebook(actor, notebook.public_id)


@pytest.mark.parametrize("reason", [EndReason.STOPPED, EndReason.USER_ERROR, EndReason.DISK_FULL])
def test_from_rest_it_starts_again_with_a_new_attempt_and_a_new_hold(
    actor: Actor, engine: Engine, reason: EndReason
) -> None:
    notebook = running(actor)
    end(engine, notebook, reason)
    assert held() == 0
    start_notebook(actor, notebook.public_id)
    notebook = fresh(notebook)
    assert (notebook.status, notebook.first_attempt) == (WorkloadStatus.QUEUED, 2)
    assert (notebook.started_at, notebook.ended_at) == (None, None)
    assert held() == MICROS_PER_HOUR
    tick()
    assert Attempt.objects.get(workload=notebook, number=2).state == AttemptState.RUNNING
    assert App.objects.exclude(state=AppState.CLOSED).get().attempt_id == (
        Attempt.objects.get(workload=notebook, number=2).pk
    )


def test_its_time_limit_counts_anew_with_each_start(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    Attempt.objects.update(started_at=clock.now() - 3 * HOUR)
    start_notebook(actor, notebook.public_id)
    tick()
    second = Attempt.objects.get(workload=notebook, number=2)
    assert engine.backend.specs[second.external_name].time_limit_seconds == 7200


def test_what_is_on_its_way_is_not_started_twice(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    for _ in range(2):
        start_notebook(actor, notebook.public_id)
    tick()
    start_notebook(actor, notebook.public_id)
    assert Attempt.objects.filter(workload=notebook).count() == 2
    assert held() == MICROS_PER_HOUR


def test_without_funds_it_stays_at_rest(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine, gpus=4)
    for _ in range(5):
        launched(actor, gpus=4)
    with pytest.raises(InsufficientFunds):
        start_notebook(actor, notebook.public_id)
    assert fresh(notebook).status == WorkloadStatus.STOPPED
    assert Attempt.objects.filter(workload=notebook).count() == 1


def test_without_its_volume_it_does_not_start(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor)
    notebook = stopped(actor, engine, volume=volume.public_id)
    volume.removed_at = clock.now()
    volume.save()
    with pytest.raises(InvalidInput) as refused:
        start_notebook(actor, notebook.public_id)
    assert set(refused.value.fields) == {"volume"}
    assert fresh(notebook).status == WorkloadStatus.STOPPED


def test_a_pool_that_has_closed_starts_none_again(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    engine.pool.is_open = False
    engine.pool.save()
    with pytest.raises(Conflict, match="is closed"):
        start_notebook(actor, notebook.public_id)
    assert held() == 0


def test_a_start_forgets_the_idleness_and_the_time_to_stop_that_have_passed(
    actor: Actor, engine: Engine
) -> None:
    notebook = stopped(actor, engine)
    past = clock.now() - HOUR
    Notebook.objects.update(stop_at=past, idle_since=past, stops_at=past, keep_until=past)
    start_notebook(actor, notebook.public_id)
    own = Notebook.objects.get(workload=notebook)
    assert [own.stop_at, own.idle_since, own.stops_at, own.keep_until] == [None] * 4


def test_a_time_to_stop_that_is_to_come_holds_over_a_start(actor: Actor, engine: Engine) -> None:
    soon = clock.now() + HOUR
    notebook = stopped(actor, engine, stop_at=soon)
    start_notebook(actor, notebook.public_id)
    assert Notebook.objects.get(workload=notebook).stop_at == soon


def test_every_step_stands_on_the_timeline(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    start_notebook(actor, notebook.public_id)
    steps = WorkloadEvent.objects.filter(workload=notebook).order_by("pk")
    assert [(step.status, step.reason) for step in steps] == [
        ("queued", "waiting_for_gpus"),
        ("starting", "starting"),
        ("running", "server_starting"),
        ("running", "running"),
        ("stopping", "stop_requested"),
        ("stopped", "stopped"),
        ("queued", "waiting_for_gpus"),
    ]


# --- when it stops by itself ---


def test_keep_sends_the_countdown_away_for_an_hour(actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    soon = clock.now() + timedelta(minutes=3)
    Notebook.objects.update(stops_at=soon, stops_for=Reason.IDLE, idle_since=soon, warned_at=soon)
    keep_notebook(actor, notebook.public_id)
    own = Notebook.objects.get(workload=notebook)
    assert (own.stops_at, own.stops_for, own.idle_since) == (None, "", None)
    assert own.keep_until is not None
    assert abs(own.keep_until - clock.now() - HOUR) < timedelta(minutes=1)


def test_what_rests_is_not_kept(actor: Actor, engine: Engine) -> None:
    with pytest.raises(Conflict):
        keep_notebook(actor, stopped(actor, engine).public_id)


def test_new_stops_hold_at_once(actor: Actor, engine: Engine) -> None:
    notebook = running(actor)
    soon = clock.now() + HOUR
    Notebook.objects.update(stops_at=soon, stops_for=Reason.IDLE)
    set_stops(actor, notebook.public_id, idle_minutes=0, stop_at=soon)
    own = Notebook.objects.get(workload=notebook)
    assert (own.idle_minutes, own.stop_at, own.stops_at) == (0, soon, None)


@pytest.mark.parametrize(
    ("idle_minutes", "ahead", "field"),
    [(3, HOUR, "idle_minutes"), (-1, HOUR, "idle_minutes"), (60, -HOUR, "stop_at")],
)
def test_stops_that_make_no_sense_change_nothing(
    actor: Actor, engine: Engine, idle_minutes: int, ahead: timedelta, field: str
) -> None:
    notebook = running(actor, idle_minutes=30)
    with pytest.raises(InvalidInput) as refused:
        set_stops(actor, notebook.public_id, idle_minutes=idle_minutes, stop_at=clock.now() + ahead)
    assert set(refused.value.fields) == {field}
    assert Notebook.objects.get().idle_minutes == 30


# --- remove ---


def test_what_is_removed_is_found_no_more_and_its_bill_stays(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    remove_notebook(actor, notebook.public_id)
    with pytest.raises(NotFound):
        start_notebook(actor, notebook.public_id)
    assert Workload.objects.filter(pk=notebook.pk).exists()


def test_what_runs_is_not_removed(actor: Actor, engine: Engine) -> None:
    with pytest.raises(Conflict, match="Stop the notebook"):
        remove_notebook(actor, running(actor).public_id)


# --- whose it is ---


def deeds(actor: Actor, notebook: Workload) -> dict[str, Any]:
    name = notebook.public_id
    return {
        "start": lambda: start_notebook(actor, name),
        "stop": lambda: stop_notebook(actor, name),
        "keep": lambda: keep_notebook(actor, name),
        "set": lambda: set_stops(actor, name, idle_minutes=30, stop_at=None),
        "remove": lambda: remove_notebook(actor, name),
        "share": lambda: share_notebook(actor, name),
    }


def test_another_member_may_do_nothing_with_it(actor: Actor, member: Actor, engine: Engine) -> None:
    notebook = running(actor)
    for deed in deeds(member, notebook).values():
        with pytest.raises(NotAllowed):
            deed()


def test_whom_its_person_let_in_may_work_in_it_and_neither_share_nor_remove_it(
    actor: Actor, member: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    follow_share(member, share_notebook(actor, notebook.public_id)[1])
    for name, deed in deeds(member, notebook).items():
        if name in {"share", "remove"}:
            with pytest.raises(NotAllowed):
                deed()
        else:
            deed()


def test_an_owner_may_stop_and_remove_a_members(
    actor: Actor, member: Actor, engine: Engine
) -> None:
    notebook = stopped(member, engine)
    remove_notebook(actor, notebook.public_id)


def test_another_teams_is_not_found(actor: Actor, engine: Engine, charlie: User) -> None:
    notebook = running(actor)
    for deed in deeds(actor_of_user(charlie), notebook).values():
        with pytest.raises(NotFound):
            deed()


def test_fastgpu_itself_launches_none(engine: Engine, actor: Actor) -> None:
    with pytest.raises(InvalidInput, match="by a person"):
        launched(replace(actor, user=None))
