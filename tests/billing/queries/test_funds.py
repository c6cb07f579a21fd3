"""Balance, burn, runway."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Team
from billing.actions.holds import take_hold
from billing.actions.metering import rate_open_intervals
from billing.choices import FundsLevel, LotKind
from billing.models import BillingAccount
from billing.queries.funds import Funds, funds_of, funds_of_team
from portal.lib.money import MICROS
from tests.billing.actions.lots import add_lot
from tests.billing.conftest import START, Hands, Metered


def test_nothing_burning_has_no_runway(account: BillingAccount) -> None:
    funds = funds_of(account)
    assert (funds.burn_micros_per_hour, funds.runway_seconds) == (0, None)
    assert funds.level == FundsLevel.OK


def test_runway_is_balance_over_burn(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(quantity=5)
    funds = funds_of(account)
    assert funds.burn_micros_per_hour == 10_500_000
    assert funds.runway_seconds == 50 * 3600 * 1_000_000 // 10_500_000
    assert funds.level == FundsLevel.WARN


def test_a_tick_does_not_change_the_balance(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(quantity=3)
    hands.forward(seconds=100.5)
    before = funds_of(account)
    rate_open_intervals(until=hands.now)
    assert funds_of(account) == before


def test_debt_is_a_negative_balance(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(quantity=10)
    rate_open_intervals(until=hands.forward(hours=3))
    assert funds_of(account).balance_micros == -13 * MICROS
    assert funds_of(account).runway_seconds == 0


def test_expired_credit_does_not_count(account: BillingAccount, hands: Hands) -> None:
    add_lot(account, LotKind.PROMOTIONAL, MICROS, expires_at=START)
    assert funds_of(account).balance_micros == 50 * MICROS


def test_number_of_queries_does_not_grow(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    with CaptureQueriesContext(connection) as empty:
        funds_of(account)
    for number in range(5):
        take_hold(account, resource_kind="workload", resource_id=number, amount_micros=MICROS)
        metered(number)
    with CaptureQueriesContext(connection) as full:
        funds_of(account)
    assert len(full) == len(empty)


def test_team_without_account_has_nothing(db: None) -> None:
    team = Team.objects.create(name="new")
    assert funds_of_team(team) == Funds("usd", 0, 0, 0)


@pytest.mark.parametrize(
    ("balance", "burn", "level"),
    [
        (1, 0, FundsLevel.OK),
        (0, 0, FundsLevel.WARN),
        (-1, 0, FundsLevel.BAD),
        (24 * MICROS, MICROS, FundsLevel.OK),
        (24 * MICROS - 1000, MICROS, FundsLevel.WARN),
        (MICROS, MICROS, FundsLevel.WARN),
        (MICROS - 1000, MICROS, FundsLevel.BAD),
    ],
)
def test_level_follows_the_runway(balance: int, burn: int, level: FundsLevel) -> None:
    assert Funds("usd", balance, 0, burn).level == level
