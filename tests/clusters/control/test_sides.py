"""TensorBoard beside the work: started by the loop, served, ended when nobody looks at it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import AuditEvent, User
from billing.models import Hold, UsageInterval
from clusters.actions.apps import note_ready
from clusters.actions.jobs import launch
from clusters.actions.sides import MOST_AT_ONCE, board_of_run, board_of_volume, close_board
from clusters.backends.base import Endpoint, EndReason
from clusters.choices import AppState
from clusters.control.sides import FORGET_AFTER, IDLE, LOGS, LONGEST, drive_sides, end_unused
from clusters.models import App, Side, Workload
from portal.lib.errors import InvalidInput, NotFound, TooMany
from tests.clusters.control.conftest import REQUEST, Time
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.notebooks import make_volume
from tests.fakes.serving import FolderBackend, ServingBackend

pytestmark = pytest.mark.django_db


@pytest.fixture
def engine_class() -> type[FakeBackend]:
    """One that can do all that a TensorBoard takes."""
    return FolderBackend


@pytest.fixture
def job(run: Any) -> Workload:
    """One that runs."""
    made: Workload = run()
    return made


@pytest.fixture
def side(actor: Actor, job: Workload) -> Side:
    """A TensorBoard over it that the loop has started."""
    made = board_of_run(actor, job.public_id)
    drive_sides()
    return made


def fresh(side: Side) -> Side:
    return Side.objects.get(pk=side.pk)


# --- opening ---


def test_what_is_open_already_is_found_again(actor: Actor, member: Actor, job: Workload) -> None:
    first = board_of_run(actor, job.public_id)
    assert board_of_run(member, job.public_id) == first
    assert Side.objects.count() == AuditEvent.objects.filter(verb="tensorboard.opened").count() == 1


def test_looking_for_it_again_counts_as_use(actor: Actor, job: Workload, time: Time) -> None:
    side = board_of_run(actor, job.public_id)
    time.now += timedelta(minutes=20)
    board_of_run(actor, job.public_id)
    assert fresh(side).used_at == time.now


def test_a_run_of_another_team_has_none(charlie: User, job: Workload, engine: Engine) -> None:
    with pytest.raises(NotFound, match="no such run"):
        board_of_run(actor_of_user(charlie), job.public_id)


@pytest.mark.parametrize("folder", ["../other", "a/../../b", "a\nb", "x" * 1001])
def test_a_folder_that_leads_elsewhere_is_refused(
    actor: Actor, engine: Engine, folder: str
) -> None:
    with pytest.raises(InvalidInput, match="no folder of the volume"):
        board_of_volume(actor, make_volume(actor).public_id, folder)
    assert not Side.objects.exists()


def test_each_folder_of_a_volume_has_its_own(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor).public_id
    first = board_of_volume(actor, volume, "runs/a/")
    assert board_of_volume(actor, volume, "/runs/a") == first
    assert board_of_volume(actor, volume, "") != first


def test_so_many_at_once_and_no_more_until_one_is_closed(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor).public_id
    sides = [board_of_volume(actor, volume, f"runs/{n}") for n in range(MOST_AT_ONCE)]
    with pytest.raises(TooMany), transaction.atomic():
        board_of_volume(actor, volume, "one more")
    close_board(actor, sides[0].public_id)
    board_of_volume(actor, volume, "one more")


# --- what the loop does ---


def test_it_is_submitted_once_sees_the_run_read_only_and_takes_nothing(
    side: Side, job: Workload, engine: Engine
) -> None:
    drive_sides()
    assert engine.backend.submits.count(side.external_name) == 1
    spec = engine.backend.specs[side.external_name]
    (attempt,) = job.attempts.all()
    assert [(read.host, read.inside) for read in spec.reads] == [
        (str(engine.backend.volumes_root / attempt.external_name), f"{LOGS}/home")
    ]
    assert (spec.gpus, spec.network, spec.serves, spec.volume) == (0, False, True, "")
    assert spec.command.endswith(f" {LOGS}")


def test_it_runs_as_who_may_read_what_the_engine_keeps_of_the_team(
    actor: Actor, job: Workload, engine: Engine
) -> None:
    engine.backend.owner = (300_007, 300_001)
    sides = [
        board_of_run(actor, job.public_id),
        board_of_volume(actor, make_volume(actor).public_id, ""),
    ]
    drive_sides()
    assert [engine.backend.specs[side.external_name].runs_as for side in sides] == [300_007] * 2


def test_of_a_volume_it_shows_the_folder(actor: Actor, engine: Engine) -> None:
    volume = make_volume(actor)
    side = board_of_volume(actor, volume.public_id, "runs/it's mine")
    drive_sides()
    spec = engine.backend.specs[side.external_name]
    assert [(read.host, read.inside) for read in spec.reads] == [
        (str(engine.backend.volume_path(volume.public_id)), LOGS)
    ]
    assert spec.command.endswith(""" '/logs/runs/it'"'"'s mine'""")


def test_it_costs_nothing(side: Side, job: Workload, engine: Engine) -> None:
    assert set(UsageInterval.objects.values_list("resource_id", flat=True)) == {job.pk}
    assert set(Hold.objects.values_list("resource_id", flat=True)) == {job.pk}


def test_its_route_is_opened_as_soon_as_the_engine_names_it(
    actor: Actor, job: Workload, engine: Engine
) -> None:
    assert isinstance(engine.backend, ServingBackend)
    engine.backend.everywhere = None
    side = board_of_run(actor, job.public_id)
    drive_sides()
    assert not App.objects.filter(side=side).exists()
    engine.backend.everywhere = Endpoint(host="127.0.0.1", port=9, token="t")
    drive_sides()
    drive_sides()
    app = App.objects.get(side=side)
    assert app.name == f"tb-{side.public_id.replace('_', '-')}"
    assert (app.endpoint["port"], app.state) == (9, AppState.STARTING)


def test_one_that_ends_by_itself_says_why_and_is_served_no_more(side: Side, engine: Engine) -> None:
    note_ready(App.objects.get(side=side).pk)
    engine.backend.end(side.external_name, EndReason.USER_ERROR, detail="exit code 1")
    drive_sides()
    assert (fresh(side).detail, fresh(side).ended_at is None) == ("exit code 1", False)
    assert App.objects.get(side=side).state == AppState.CLOSED


def test_a_refusal_of_the_engine_is_its_end(actor: Actor, job: Workload, engine: Engine) -> None:
    engine.backend.refusal = "There is no environment 'python-data'."
    side = board_of_run(actor, job.public_id)
    drive_sides()
    assert fresh(side).detail == "There is no environment 'python-data'."


def test_a_run_that_never_began_has_nothing_to_show(
    actor: Actor, engine: Engine, time: Time
) -> None:
    job = launch(actor, REQUEST)
    side = board_of_run(actor, job.public_id)
    drive_sides()
    assert fresh(side).detail.startswith("There is nothing to show")


@pytest.mark.parametrize("engine_class", [FakeBackend])
def test_an_engine_that_cannot_serve_ends_it_with_words(
    actor: Actor, job: Workload, engine: Engine
) -> None:
    side = board_of_run(actor, job.public_id)
    drive_sides()
    assert "no engine that serves" in fresh(side).detail


def test_an_engine_that_is_silent_changes_nothing(side: Side, engine: Engine) -> None:
    engine.backend.is_down = True
    drive_sides()
    assert fresh(side).ended_at is None
    assert App.objects.get(side=side).state == AppState.STARTING


# --- its end ---


def test_a_closed_one_is_served_no_more_and_its_sandbox_is_stopped(
    actor: Actor, side: Side, engine: Engine
) -> None:
    close_board(actor, side.public_id)
    assert App.objects.get(side=side).state == AppState.CLOSED
    drive_sides()
    assert side.external_name in engine.backend.stops
    assert engine.backend.submits.count(side.external_name) == 1


def test_the_stop_is_sent_again_after_an_outage_and_not_for_ever(
    actor: Actor, side: Side, engine: Engine, time: Time
) -> None:
    close_board(actor, side.public_id)
    engine.backend.is_down = True
    drive_sides()
    assert engine.backend.stops == []
    engine.backend.is_down = False
    drive_sides()
    assert engine.backend.stops == [side.external_name]
    time.now += FORGET_AFTER + timedelta(seconds=1)
    drive_sides()
    assert engine.backend.stops == [side.external_name]


def test_a_closed_one_is_closed_once_and_by_its_team_alone(
    actor: Actor, charlie: User, side: Side
) -> None:
    with pytest.raises(NotFound):
        close_board(actor_of_user(charlie), side.public_id)
    close_board(actor, side.public_id)
    with pytest.raises(NotFound, match="not open"):
        close_board(actor, side.public_id)


@pytest.mark.parametrize(
    ("age", "is_ended"),
    [(IDLE - timedelta(seconds=1), False), (IDLE + timedelta(seconds=1), True)],
)
def test_one_nobody_looks_at_is_ended(
    side: Side, time: Time, age: timedelta, is_ended: bool
) -> None:
    time.now += age
    assert end_unused() == is_ended
    assert (fresh(side).ended_at is not None) == is_ended


def test_one_is_ended_after_its_longest_time_however_it_was_used(side: Side, time: Time) -> None:
    time.now += LONGEST + timedelta(seconds=1)
    Side.objects.update(used_at=time.now)
    assert end_unused() == 1


def test_a_new_one_is_opened_after_the_end(actor: Actor, side: Side, job: Workload) -> None:
    close_board(actor, side.public_id)
    again = board_of_run(actor, job.public_id)
    assert again != side
    assert again.external_name != side.external_name
