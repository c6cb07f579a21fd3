"""Schedules launch what is due, once, as whom they run as, and say what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.access import actor_of_user
from accounts.actions.teams import create_api_key, revoke_api_key
from accounts.actor import Actor
from accounts.choices import ActorKind
from accounts.models import ApiKey, AuditEvent, Membership, User
from billing.actions.accounts import ensure_account
from billing.actions.holds import take_hold
from clusters.actions.schedules import pause_schedule, resume_schedule, run_now, update_schedule
from clusters.actions.schedules import request_of as request_of_schedule
from clusters.backends.base import EndReason
from clusters.choices import RunOutcome, WorkloadStatus
from clusters.control.schedules import launch_scheduled, realign
from clusters.models import Attempt, Schedule, ScheduleRun, Volume, Workload
from portal.lib import clock
from portal.lib.errors import Conflict
from portal.lib.money import MICROS
from tests.clusters.control.conftest import Time, subjects
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.schedules import make_schedule, make_volume, sweep


@pytest.fixture
def time(engine: Engine) -> Any:
    """Ten minutes to three."""
    time = Time()
    time.now = datetime(2026, 11, 28, 2, 50, tzinfo=UTC)
    with clock.use(lambda: time.now):
        yield time


@pytest.fixture
def volume(actor: Actor, time: Time) -> Volume:
    return make_volume(actor)


@pytest.fixture
def schedule(actor: Actor, volume: Volume) -> Schedule:
    """Hourly, on the hour."""
    return make_schedule(actor, volume)


def at(time: Time, text: str) -> None:
    """Turn the clock to a time of the day and let beat and workers do a turn."""
    hour, minute = text.split(":")
    time.now = time.now.replace(hour=int(hour), minute=int(minute), second=1)
    sweep()


def end(engine: Engine, reason: EndReason = EndReason.COMPLETED) -> None:
    """Let all that was launched run and end."""
    tick()
    for attempt in Attempt.objects.exclude(state="ended"):
        engine.backend.end(attempt.external_name, reason, exit_code=int(reason != "completed"))
    tick()
    sweep()


def outcomes() -> list[tuple[str, str]]:
    """Of each time: when it was due and what came of it."""
    runs = ScheduleRun.objects.order_by("pk")
    return [(f"{run.due_at:%H:%M}", run.outcome) for run in runs]


def fresh(schedule: Schedule) -> Schedule:
    return Schedule.objects.get(pk=schedule.pk)


# --- when ---


def test_it_is_launched_when_it_is_due_and_not_before(schedule: Schedule, time: Time) -> None:
    at(time, "02:59")
    assert outcomes() == []
    at(time, "03:00")
    at(time, "03:00")
    assert outcomes() == [("03:00", "launched")]
    assert fresh(schedule).next_at == datetime(2026, 11, 28, 4, 0, tzinfo=UTC)


def test_job_runs_the_notebook_in_its_volume_and_keeps_what_it_shows(
    actor: Actor, volume: Volume, time: Time
) -> None:
    make_schedule(actor, volume, run={"parameters": {"days": 7}, "gpus": 2, "project": "ops"})
    at(time, "03:00")
    job = Workload.objects.get()
    assert job.command == (
        "exec python -m fastgpu.run_notebook --parameters '{\"days\": 7}' -- "
        "reports/daily.ipynb reports/daily-20261128-030000.ipynb"
    )
    assert (job.volume, job.gpus, job.environment) == (volume, 2, "python-data")
    assert (job.project, job.created_by, job.name) == ("ops", actor.user, "daily report")
    assert ScheduleRun.objects.get().output == "reports/daily-20261128-030000.ipynb"


def test_portal_that_was_away_makes_good_once(schedule: Schedule, time: Time) -> None:
    time.now += timedelta(days=2)
    sweep()
    sweep()
    run = ScheduleRun.objects.get()
    assert (run.outcome, run.detail) == ("launched", "47 times passed while FastGPU was away.")
    assert fresh(schedule).next_at == datetime(2026, 11, 30, 3, 0, tzinfo=UTC)


def test_without_catching_up_what_passed_is_noted_and_not_run(
    actor: Actor, volume: Volume, time: Time
) -> None:
    make_schedule(actor, volume, catches_up=False)
    at(time, "05:30")
    assert outcomes() == [("03:00", "missed")]
    assert ScheduleRun.objects.get().detail == "3 times passed while FastGPU was away."
    at(time, "06:02")
    assert outcomes()[1:] == [("06:00", "launched")]


def test_time_is_skipped_while_the_run_before_still_goes(
    schedule: Schedule, time: Time, engine: Engine
) -> None:
    at(time, "03:00")
    at(time, "04:00")
    assert outcomes() == [("03:00", "launched"), ("04:00", "skipped")]
    end(engine)
    at(time, "05:00")
    assert outcomes()[2:] == [("05:00", "launched")]
    assert (fresh(schedule).failures_in_row, mail.outbox) == (0, [])


def test_runs_may_overlap_where_that_is_wanted(actor: Actor, volume: Volume, time: Time) -> None:
    make_schedule(actor, volume, skips_while_running=False)
    at(time, "03:00")
    at(time, "04:00")
    assert outcomes() == [("03:00", "launched"), ("04:00", "launched")]


def test_clock_that_is_put_back_launches_nothing_twice(schedule: Schedule, time: Time) -> None:
    at(time, "03:00")
    at(time, "02:50")
    at(time, "03:01")
    assert outcomes() == [("03:00", "launched")]


def test_clock_that_was_years_ahead_is_mended(
    schedule: Schedule, time: Time, engine: Engine
) -> None:
    true_time = time.now
    time.now = true_time.replace(year=2031)
    sweep()
    end(engine)
    assert outcomes() == [("03:00", "launched")]
    time.now = true_time
    assert realign() == 1
    # The time of today was dealt with while the clock was ahead.
    assert fresh(schedule).next_at == datetime(2026, 11, 28, 4, 0, tzinfo=UTC)
    assert realign() == 0


# --- as whom ---


def test_it_runs_as_its_maker_with_the_role_of_now(
    bob: User, volume: Volume, time: Time, engine: Engine
) -> None:
    make_schedule(actor_of_user(bob), volume)
    at(time, "03:00")
    job = Workload.objects.get()
    event = AuditEvent.objects.get(verb="job.launched")
    assert (job.created_by, event.user, event.actor_kind) == (bob, bob, ActorKind.USER)
    assert event.reason == f"schedule {Schedule.objects.get().public_id}"


def test_who_has_left_the_team_pauses_it_and_owners_are_told(
    alice: User, bob: User, volume: Volume, time: Time
) -> None:
    schedule = make_schedule(actor_of_user(bob), volume)
    Membership.objects.filter(user=bob).delete()
    at(time, "03:00")
    assert outcomes() == [("03:00", "refused")]
    paused = fresh(schedule)
    assert (paused.is_on, paused.paused_reason) == (
        False, "bob, whom it ran as, has left the team.",
    )  # fmt: skip
    (message,) = mail.outbox
    assert (message.to, message.subject) == (
        [alice.email], "daily report was not started and is paused",
    )  # fmt: skip
    assert "has left the team" in str(message.body)


def test_closed_account_pauses_it(bob: User, volume: Volume, time: Time) -> None:
    schedule = make_schedule(actor_of_user(bob), volume)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    at(time, "03:00")
    assert "is closed" in fresh(schedule).paused_reason


def test_revoked_key_pauses_what_was_made_with_it(
    alice: User, actor: Actor, volume: Volume, time: Time
) -> None:
    key, _ = create_api_key(actor, name="nightly")
    with_key = Actor(
        kind=ActorKind.API_KEY, user=alice, team=actor.team, role=actor.role, api_key=key
    )
    schedule = make_schedule(with_key, volume)
    at(time, "03:00")
    assert Workload.objects.get().api_key == ApiKey.objects.get(pk=key.pk)
    revoke_api_key(actor, key.public_id)
    Workload.objects.update(status=WorkloadStatus.SUCCEEDED, ended_at=time.now)
    at(time, "04:00")
    assert outcomes()[1:] == [("04:00", "refused")]
    assert "nightly, which it was made with, is revoked" in fresh(schedule).paused_reason


def test_owner_who_resumes_it_is_whom_it_runs_as(
    actor: Actor, bob: User, volume: Volume, time: Time
) -> None:
    schedule = make_schedule(actor_of_user(bob), volume)
    Membership.objects.filter(user=bob).delete()
    at(time, "03:00")
    resume_schedule(actor, schedule.public_id)
    at(time, "04:00")
    assert Workload.objects.get().created_by == actor.user
    assert fresh(schedule).created_by == bob


# --- what goes wrong ---


def spend_all(actor: Actor) -> None:
    assert actor.team is not None
    take_hold(
        ensure_account(actor.team),
        resource_kind="workload",
        resource_id=999,
        amount_micros=50 * MICROS,
    )


def test_run_that_cannot_be_paid_is_noted_mailed_once_and_tried_at_the_next_time(
    actor: Actor, schedule: Schedule, time: Time
) -> None:
    spend_all(actor)
    at(time, "03:00")
    sweep()
    run = ScheduleRun.objects.get()
    assert run.outcome == RunOutcome.REFUSED
    assert "$" in run.detail
    (message,) = mail.outbox
    assert (message.to, message.subject) == (
        ["alice@example.org"], "daily report was not started",
    )  # fmt: skip
    assert run.detail in str(message.body)
    assert f"/schedules/{schedule.public_id}/" in str(message.body)
    assert fresh(schedule).is_on
    assert not Workload.objects.exists()


def test_what_fails_again_and_again_is_paused(
    schedule: Schedule, time: Time, engine: Engine, settings: Any
) -> None:
    settings.SCHEDULE_FAILURES = 3
    for hour in (3, 4, 5):
        at(time, f"{hour:02}:00")
        end(engine, EndReason.USER_ERROR)
    paused = fresh(schedule)
    assert (paused.is_on, paused.next_at) == (False, None)
    assert paused.paused_reason == "It failed 3 times in a row."
    at(time, "06:00")
    assert len(outcomes()) == 3
    assert subjects() == ["daily report failed"] * 2 + ["daily report failed and is paused"]
    assert f"/jobs/{Workload.objects.latest('pk').public_id}/" in str(mail.outbox[-1].body)


def test_success_begins_the_count_anew(
    schedule: Schedule, time: Time, engine: Engine, settings: Any
) -> None:
    settings.SCHEDULE_FAILURES = 2
    for hour, reason in (
        (3, EndReason.USER_ERROR), (4, EndReason.COMPLETED), (5, EndReason.USER_ERROR),
    ):  # fmt: skip
        at(time, f"{hour:02}:00")
        end(engine, reason)
    assert (fresh(schedule).is_on, fresh(schedule).failures_in_row) == (True, 1)


def test_run_that_people_stopped_is_no_failure(
    schedule: Schedule, time: Time, engine: Engine
) -> None:
    at(time, "03:00")
    end(engine, EndReason.STOPPED)
    assert (fresh(schedule).failures_in_row, mail.outbox) == (0, [])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda volume, _pool: Volume.objects.update(removed_at=clock.now()), "no such volume"),
        (lambda volume, pool: type(pool).objects.update(is_open=False), "no such pool"),
        (
            lambda volume, pool: type(pool).objects.update(present_environments=["system"]),
            "python-data is not built yet",
        ),
        (lambda volume, _pool: Volume.objects.update(used_bytes=1 << 40), "data is full"),
    ],
    ids=["volume", "pool", "environment", "full"],
)
def test_what_is_gone_is_said(
    schedule: Schedule, volume: Volume, time: Time, engine: Engine, spoil: Callable[..., None],
    words: str,
) -> None:  # fmt: skip
    spoil(volume, engine.pool)
    at(time, "03:00")
    assert words in ScheduleRun.objects.get().detail
    assert fresh(schedule).failures_in_row == 1


def test_mail_that_cannot_be_sent_is_sent_by_a_later_sweep(
    actor: Actor, schedule: Schedule, time: Time, settings: Any
) -> None:
    spend_all(actor)
    settings.EMAIL_BACKEND = "tests.fakes.mail.BrokenBackend"
    at(time, "03:00")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    sweep()
    assert subjects() == ["daily report was not started"]


# --- by hand ---


def test_run_now_changes_no_time_and_runs_as_who_asked(
    schedule: Schedule, bob: User, actor: Actor, time: Time
) -> None:
    before = schedule.next_at
    launched = run_now(actor, schedule.public_id)
    assert fresh(schedule).next_at == before
    run = ScheduleRun.objects.get()
    assert (run.is_manual, run.workload) == (True, launched.job)
    with pytest.raises(Conflict, match="still going"):
        run_now(actor, schedule.public_id)


def test_paused_one_launches_nothing_and_goes_on_with_the_next_time_to_come(
    actor: Actor, schedule: Schedule, time: Time
) -> None:
    pause_schedule(actor, schedule.public_id)
    at(time, "04:30")
    resume_schedule(actor, schedule.public_id)
    at(time, "04:40")
    assert outcomes() == []
    at(time, "05:00")
    assert outcomes() == [("05:00", "launched")]


def test_other_times_hold_at_once(actor: Actor, schedule: Schedule, time: Time) -> None:
    request = replace(request_of_schedule(schedule), cron="30 4 * * *", timezone="Europe/Berlin")
    update_schedule(actor, schedule.public_id, request)
    at(time, "03:30")
    assert outcomes() == [("03:30", "launched")]


def test_one_that_is_not_due_is_left_alone(schedule: Schedule, time: Time) -> None:
    assert not launch_scheduled(schedule.pk)
