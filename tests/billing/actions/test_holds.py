"""Holds: what is set aside cannot be spent twice."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from billing.actions.holds import release_hold, take_hold
from billing.actions.metering import close_interval
from billing.models import BillingAccount, Hold
from billing.queries.funds import funds_of
from portal.lib.errors import Conflict, InsufficientFunds
from portal.lib.money import MICROS
from tests.billing.conftest import Hands, Metered


def hold(account: BillingAccount, micros: int, resource_id: int = 1) -> Hold:
    return take_hold(
        account, resource_kind="workload", resource_id=resource_id, amount_micros=micros
    )


def test_hold_lowers_what_is_available(account: BillingAccount) -> None:
    hold(account, 20 * MICROS)
    funds = funds_of(account)
    assert funds.balance_micros == 50 * MICROS
    assert (funds.held_micros, funds.available_micros) == (20 * MICROS, 30 * MICROS)


def test_all_of_the_balance_may_be_held_and_not_more(account: BillingAccount) -> None:
    hold(account, 50 * MICROS)
    with pytest.raises(InsufficientFunds):
        hold(account, 1, resource_id=2)


def test_refusal_says_what_is_missing(account: BillingAccount) -> None:
    with pytest.raises(InsufficientFunds) as refusal:
        hold(account, 60 * MICROS + 1)
    assert refusal.value.message == (
        "This needs $60.01 set aside and $50.00 is available. "
        "Add $10.01 or more of credit, or ask for less."
    )


def test_hold_taken_twice_is_one(account: BillingAccount) -> None:
    assert hold(account, MICROS).pk == hold(account, MICROS).pk
    with pytest.raises(Conflict):
        hold(account, 2 * MICROS)


def test_a_hold_of_all_there_is_is_taken_twice_too(account: BillingAccount) -> None:
    assert hold(account, 50 * MICROS).pk == hold(account, 50 * MICROS).pk


def test_released_hold_is_available_again(account: BillingAccount) -> None:
    hold(account, 50 * MICROS)
    release_hold(resource_kind="workload", resource_id=1)
    release_hold(resource_kind="workload", resource_id=1)
    assert funds_of(account).available_micros == 50 * MICROS


def test_usage_eats_up_its_own_hold(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    hold(account, 2_100_000)
    metered()
    hands.forward(minutes=30)
    funds = funds_of(account)
    assert funds.balance_micros == 50 * MICROS - 1_050_000
    assert funds.held_micros == 1_050_000
    hands.forward(hours=2)
    assert funds_of(account).held_micros == 0


def test_earlier_attempts_count_against_the_hold(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    hold(account, 2_100_000)
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(minutes=30))
    assert funds_of(account).held_micros == 1_050_000


@pytest.mark.django_db(transaction=True)
def test_two_holds_at_once_cannot_overspend(account: BillingAccount) -> None:
    callers = 8
    barrier = threading.Barrier(callers)
    results: list[str] = []

    def call(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            hold(account, 30 * MICROS, resource_id=number)
            results.append("held")
        except InsufficientFunds:
            results.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held"] + ["refused"] * (callers - 1)
    assert funds_of(account).available_micros == 20 * MICROS
