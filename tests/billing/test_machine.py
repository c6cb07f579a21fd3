"""Money in any order of events: a state machine against a model of a few sums.

`MACHINE_STEPS` is how long it goes on, `MACHINE_SEED` where it begins; with `MACHINE_SHRINK=0` a
failure is shown as it came, which is quicker.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as how
from hypothesis.stateful import run_state_machine_as_test
from stripe._http_client import HTTPClient

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.accounts import ensure_account
from billing.models import BillingAccount, Price
from billing.queries.funds import funds_of
from tests.billing.conftest import Box
from tests.billing.machine.base import GIVEN, STARTED, Base
from tests.billing.machine.cards import CardRules
from tests.billing.machine.months import MonthRules
from tests.billing.machine.payments import PaymentRules

STEPS = int(os.environ.get("MACHINE_STEPS", "400"))
FIRST_SEED = int(os.environ.get("MACHINE_SEED", "1"))
PHASES = tuple(Phase) if os.environ.get("MACHINE_SHRINK", "1") != "0" else (Phase.generate,)


class Money(CardRules, PaymentRules, MonthRules):
    """All rules."""


@pytest.mark.timeout(0)
@pytest.mark.django_db
def test_books_agree_after_any_history(
    team: Team,
    dora: User,
    actor: Actor,
    prices: Price,
    box: Box,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = ensure_account(team)
    BillingAccount.objects.filter(pk=account.pk).update(created_at=STARTED)
    assert funds_of(account).balance_micros == GIVEN
    Base.account, Base.owner, Base.box, Base.settings = account, actor, box, settings
    Base.staff = Actor.staff(dora, team=team, reason="the machine")
    Base.steps = 0
    Base.happened.clear()
    monkeypatch.setattr(HTTPClient, "INITIAL_DELAY", 0.01)  # between tries of Stripe's client
    options = how(
        max_examples=max(5, min(200, STEPS // 80)),
        stateful_step_count=80,
        deadline=None,
        database=None,
        phases=PHASES,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    number = FIRST_SEED
    while Base.steps < STEPS:
        run_state_machine_as_test(seed(number)(Money), settings=options)
        number += 1
    print(f"{Base.steps} steps; {dict(sorted(Base.happened.items()))}")
