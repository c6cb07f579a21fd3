"""GET /api/v1/billing/balance"""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from billing.actions.holds import take_hold
from billing.models import BillingAccount
from portal.lib.money import MICROS
from tests.billing.conftest import Hands, Metered

URL = "/api/v1/billing/balance"


def test_balance_of_a_quiet_team(api: APIClient) -> None:
    assert api.get(URL).json() == {
        "currency": "usd",
        "balance_micros": 50 * MICROS,
        "held_micros": 0,
        "available_micros": 50 * MICROS,
        "burn_micros_per_hour": 0,
        "runway_seconds": None,
    }


def test_balance_while_work_runs(
    api: APIClient, account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    take_hold(account, resource_kind="workload", resource_id=1, amount_micros=2_100_000)
    metered()
    hands.forward(minutes=6)
    answer = api.get(URL).json()
    assert answer["balance_micros"] == 50 * MICROS - 210_000
    assert answer["held_micros"] == 1_890_000
    assert answer["available_micros"] == answer["balance_micros"] - answer["held_micros"]
    assert answer["burn_micros_per_hour"] == 2_100_000
    assert answer["runway_seconds"] == answer["balance_micros"] * 3600 // 2_100_000


def test_another_team_sees_its_own(
    account: BillingAccount, charlie: User, api_of: Callable[[User], APIClient]
) -> None:
    take_hold(account, resource_kind="workload", resource_id=1, amount_micros=MICROS)
    assert api_of(charlie).get(URL).json()["held_micros"] == 0


def test_without_a_key_is_401(db: None) -> None:
    answer = Client().get(URL)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"
