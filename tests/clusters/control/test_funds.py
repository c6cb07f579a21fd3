"""Running out of money, and budgets that stop what is under them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.budgets import remove_budget, set_budget
from billing.actions.credit import grant_credit
from billing.choices import BudgetScope, Collection, Enforcement
from billing.models import (
    BillingAccount,
    Budget,
    BudgetCrossing,
    CreditLot,
    EnforcementAction,
    FundsNotice,
)
from billing.queries.funds import funds_of
from clusters.actions.jobs import launch
from clusters.backends.base import EndReason
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool
from portal.lib.errors import InsufficientFunds, InvalidInput, NotAllowed, NotFound
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.clusters.control.conftest import REQUEST, Time, subjects
from tests.conftest import Engine
from tests.fakes.loop import tick


def status_of(job: Workload) -> str:
    job.refresh_from_db()
    return job.status


def end(engine: Engine, job: Workload) -> None:
    """The engine has ended what it was asked to."""
    name = Attempt.objects.get(workload=job).external_name
    assert name in engine.backend.stops
    engine.backend.end(name, EndReason.STOPPED)
    tick()
    job.refresh_from_db()


def test_who_was_not_watched_has_the_grace_all_the_same(
    account: BillingAccount, run: Any, time: Time
) -> None:
    job = run()
    time.forward(hours=24)
    time.forward(seconds=289)
    assert status_of(job) == WorkloadStatus.RUNNING
    time.forward(seconds=10)
    assert status_of(job) == WorkloadStatus.STOPPING


# $50 at $2.10 an hour last 23 h 48 min 34 s: the first look is under a day already.
CREDIT_LASTS_SECONDS = 85_714


def test_a_day_left_is_told_once(account: BillingAccount, run: Any, time: Time) -> None:
    run()
    for _ in range(3):
        time.forward(minutes=1)
    assert subjects() == ["Alice's team: credit for less than a day"]
    assert "runway 23 h" in mail.outbox[0].body


def test_each_step_down_is_told_once(
    account: BillingAccount, run: Any, time: Time, engine: Engine
) -> None:
    job = run()
    time.forward(hours=1)
    time.forward(hours=22)
    time.forward(minutes=50)
    time.forward(minutes=6)
    end(engine, job)
    time.forward(seconds=10)
    assert [subject.split(": ")[1] for subject in subjects()] == [
        "credit for less than a day",
        "credit for less than an hour",
        "the credit is used up",
        "work was stopped",
    ]
    assert (job.status, job.reason) == (WorkloadStatus.CANCELLED, Reason.FUNDS_EXHAUSTED)
    assert_books(account)


def test_steps_passed_in_one_go_are_one_mail(account: BillingAccount, run: Any, time: Time) -> None:
    run()
    time.forward(hours=24)
    assert subjects() == ["Alice's team: the credit is used up"]
    assert FundsNotice.objects.count() == 3


def test_work_goes_on_for_the_grace_and_no_longer_than_a_tick_more(
    account: BillingAccount, run: Any, time: Time
) -> None:
    job = run()
    time.forward(seconds=CREDIT_LASTS_SECONDS - 1)
    time.forward(seconds=10)  # nine seconds after the last of it went
    for _ in range(29):
        time.forward(seconds=10)
        assert status_of(job) == WorkloadStatus.RUNNING
    time.forward(seconds=10)  # 309 s
    assert status_of(job) == WorkloadStatus.STOPPING
    done = EnforcementAction.objects.get()
    assert (done.kind, done.subject) == (Enforcement.FUNDS_STOP, job.public_id)


def test_new_work_is_refused_when_nothing_is_left(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    run()
    time.forward(hours=24)
    with pytest.raises(InsufficientFunds, match="Add"):
        launch(actor, REQUEST)


def test_credit_in_time_stops_the_ladder_and_it_tells_again_next_time(
    account: BillingAccount, run: Any, time: Time
) -> None:
    job = run()
    time.forward(hours=24)
    give(account, 100, "first")
    time.forward(minutes=10)
    account.refresh_from_db()
    assert (status_of(job), account.exhausted_at) == (WorkloadStatus.RUNNING, None)
    mail.outbox.clear()
    time.forward(hours=47)
    assert subjects() == ["Alice's team: credit for less than an hour"]


def give(account: BillingAccount, dollars: int, key: str) -> None:
    grant_credit(
        Actor.system("tests"),
        account,
        amount_micros=dollars * MICROS,
        reason="tests",
        idempotency_key=key,
    )


def test_team_that_pays_by_invoice_goes_on_to_its_limit(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    CreditLot.objects.update(expires_at=time.now + timedelta(hours=2))
    BillingAccount.objects.update(collection=Collection.POSTPAID, credit_limit_micros=21 * MICROS)
    job = run()
    time.forward(hours=9)
    assert status_of(job) == WorkloadStatus.RUNNING
    assert funds_of(account).spendable_micros > 0
    time.forward(hours=5)
    time.forward(minutes=6)
    assert status_of(job) == WorkloadStatus.STOPPING


def budget(actor: Actor, dollars: float, scope: BudgetScope = BudgetScope.TEAM, target: str = "",
           *, is_hard: bool = True) -> Budget:  # fmt: skip
    return set_budget(actor, scope, target, amount_micros=int(dollars * MICROS), is_hard=is_hard)


def test_thresholds_are_told_once_each(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    give(account, 1000, "enough")
    budget(actor, 21, is_hard=False)
    run()
    for _ in range(12):
        time.forward(minutes=59)
        time.forward(minutes=1)
    assert subjects() == [
        f"{percent} % of the budget of the team is used" for percent in (50, 80, 95, 100)
    ]


def test_thresholds_passed_in_one_go_are_one_mail(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    give(account, 1000, "enough")
    budget(actor, 21, is_hard=False)
    run()
    time.forward(hours=9)
    assert subjects() == ["80 % of the budget of the team is used"]
    assert BudgetCrossing.objects.count() == 2


def test_raised_budget_tells_again(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    give(account, 1000, "enough")
    budget(actor, 2.1, is_hard=False)
    run()
    time.forward(hours=2)
    budget(actor, 8.4, is_hard=False)
    time.forward(minutes=1)
    assert [subject[:4] for subject in subjects()] == ["100 ", "50 %"]


@pytest.mark.parametrize("scope", sorted(set(BudgetScope) - {BudgetScope.API_KEY}))
def test_hard_budget_stops_what_is_under_it_and_nothing_else(
    account: BillingAccount,
    actor: Actor,
    bob: User,
    run: Any,
    time: Time,
    engine: Engine,
    scope: BudgetScope,
) -> None:
    give(account, 1000, "enough")
    mine = run(project="vision")
    other = run(actor_of_user(bob), project="text")
    target = {
        BudgetScope.PROJECT: "vision",
        BudgetScope.MEMBER: "alice@example.org",
        BudgetScope.RUN: mine.public_id,
    }
    budget(actor, 2.1, scope, target.get(scope, ""))
    time.forward(minutes=59)
    assert status_of(mine) == WorkloadStatus.RUNNING or scope == BudgetScope.TEAM
    time.forward(minutes=1)
    assert status_of(mine) == WorkloadStatus.STOPPING
    stopped = [mine, other] if scope == BudgetScope.TEAM else [mine]
    expected = WorkloadStatus.STOPPING if other in stopped else WorkloadStatus.RUNNING
    assert status_of(other) == expected
    assert EnforcementAction.objects.count() == len(stopped)
    end(engine, mine)
    assert (mine.status, mine.reason) == (WorkloadStatus.CANCELLED, Reason.BUDGET_REACHED)


def test_key_has_a_budget(
    account: BillingAccount, actor: Actor, api: APIClient, time: Time, engine: Engine
) -> None:
    give(account, 1000, "enough")
    job = {"name": "a", "pool": "a100", "command": "true", "time_limit_seconds": 90000}
    assert api.post("/api/v1/jobs", job, format="json").status_code == 201
    drive_pool(engine.pool.pk)
    started = Workload.objects.get()
    assert started.api_key is not None
    budget(actor, 2.1, BudgetScope.API_KEY, started.api_key.public_id)
    time.forward(hours=1)
    assert status_of(started) == WorkloadStatus.STOPPING
    refused = api.post("/api/v1/jobs", job, format="json")
    assert refused.status_code == 402
    assert "budget of API key" in refused.content.decode()


def test_launch_under_a_used_up_budget_is_refused(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    run(project="vision")
    budget(actor, 1, BudgetScope.PROJECT, "vision")
    time.forward(hours=1)
    refused = pytest.raises(InsufficientFunds, match="budget of project vision is used up")
    with refused, transaction.atomic():
        launch(actor, replace(REQUEST, project="vision"))
    launch(actor, replace(REQUEST, project="text"))


def test_budget_of_a_month_begins_anew(
    account: BillingAccount, actor: Actor, run: Any, time: Time, engine: Engine
) -> None:
    job = run()
    budget(actor, 1)
    time.forward(hours=1)
    end(engine, job)
    time.forward(days=31)
    assert launch(actor, REQUEST)


def test_run_is_launched_with_a_limit_of_its_own(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    job = run(max_cost_micros=2_100_000)
    time.forward(minutes=59)
    assert status_of(job) == WorkloadStatus.RUNNING
    time.forward(minutes=1)
    assert status_of(job) == WorkloadStatus.STOPPING


def test_soft_budget_stops_nothing(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    job = run()
    budget(actor, 1, is_hard=False)
    time.forward(hours=2)
    assert status_of(job) == WorkloadStatus.RUNNING


def test_what_was_done_stays_on_record(
    account: BillingAccount, actor: Actor, run: Any, time: Time
) -> None:
    run(max_cost_micros=10_000)
    time.forward(minutes=1)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        EnforcementAction.objects.update(spent_micros=0)


@pytest.mark.parametrize("micros", [0, -1, 9_999, 9 * 10**18])
def test_amount_that_cannot_be_is_refused(
    account: BillingAccount, actor: Actor, micros: int
) -> None:
    with pytest.raises(InvalidInput):
        set_budget(actor, BudgetScope.TEAM, "", amount_micros=micros, is_hard=False)
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (BudgetScope.PROJECT, ""),
        (BudgetScope.PROJECT, "x" * 61),
        (BudgetScope.MEMBER, "charlie@example.org"),
        (BudgetScope.API_KEY, "key_nothing"),
        (BudgetScope.RUN, "job_nothing"),
        (BudgetScope.PROJECT, "a\0b"),
    ],
)
def test_target_nobody_knows_is_refused(
    account: BillingAccount, actor: Actor, charlie: User, scope: BudgetScope, target: str
) -> None:
    with pytest.raises(InvalidInput):
        budget(actor, 5, scope, target)


def test_setting_again_replaces(account: BillingAccount, actor: Actor) -> None:
    budget(actor, 5)
    budget(actor, 7, is_hard=False)
    assert (Budget.objects.get().amount_micros, Budget.objects.get().is_hard) == (
        7 * MICROS,
        False,
    )


def test_member_may_not_set_a_budget(account: BillingAccount, bob: User) -> None:
    with pytest.raises(NotAllowed):
        budget(actor_of_user(bob), 5)


def test_api_sets_lists_and_removes(account: BillingAccount, api: APIClient) -> None:
    asked = {"scope": "team", "amount_micros": 5_000_000, "is_hard": True}
    made = api.put("/api/v1/billing/budgets", asked, format="json").json()
    assert (made["name"], made["percent"], made["left_micros"]) == ("the team", 0, 5_000_000)
    assert api.get("/api/v1/billing/budgets").json() == [made]
    assert api.delete(f"/api/v1/billing/budgets/{made['id']}").status_code == 204
    assert api.get("/api/v1/billing/budgets").json() == []


def test_budget_of_others_is_not_found(
    account: BillingAccount, actor: Actor, charlie: User
) -> None:
    theirs = budget(actor, 5)
    with pytest.raises(NotFound):
        remove_budget(actor_of_user(charlie), theirs.public_id)
