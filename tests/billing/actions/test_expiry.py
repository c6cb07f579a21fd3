"""Credit with an end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.actor import Actor
from billing.actions.credit import grant_credit
from billing.actions.expiry import expire_credit
from billing.actions.faults import Fault
from billing.actions.metering import close_interval, rate_open_intervals
from billing.choices import AccountCode, EntryKind, LotKind
from billing.models import BillingAccount, JournalEntry, LedgerAccount
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS
from tests.billing.actions.lots import add_lot
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Hands, Metered

DAY = timedelta(days=1)


def house(code: AccountCode) -> int:
    return sum(
        LedgerAccount.objects.filter(code=code, account=None).values_list(
            "balance_micros", flat=True
        )
    )


def test_what_is_left_of_a_gift_costs_us_nothing(account: BillingAccount, hands: Hands) -> None:
    expense = house(AccountCode.PROMO_EXPENSE)
    add_lot(account, LotKind.GOODWILL, 3 * MICROS, START + DAY)
    hands.forward(days=1)
    assert expire_credit() == 1
    assert house(AccountCode.PROMO_EXPENSE) == expense
    assert balance(account, AccountCode.PROMO_CREDIT) == -50 * MICROS
    assert_books(account)


def test_bought_credit_becomes_revenue_of_its_own(account: BillingAccount, hands: Hands) -> None:
    add_lot(account, LotKind.PURCHASED, 3 * MICROS, START + DAY)
    hands.forward(days=1)
    expire_credit()
    assert house(AccountCode.REVENUE_BREAKAGE) == -3 * MICROS
    assert balance(account, AccountCode.CUSTOMER_CREDIT) == 0
    assert_books(account)


def test_balance_is_the_same_before_and_after_the_sweep(
    account: BillingAccount, hands: Hands
) -> None:
    add_lot(account, LotKind.GOODWILL, 3 * MICROS, START + DAY)
    hands.forward(days=1)
    before = funds_of(account).balance_micros
    expire_credit()
    assert funds_of(account).balance_micros == before == 50 * MICROS


def test_nothing_expires_a_moment_before_or_twice(account: BillingAccount, hands: Hands) -> None:
    add_lot(account, LotKind.GOODWILL, MICROS, START + DAY)
    hands.forward(days=1, microseconds=-1)
    assert expire_credit() == 0
    hands.forward(microseconds=1)
    assert (expire_credit(), expire_credit()) == (1, 0)
    assert JournalEntry.objects.filter(kind=EntryKind.EXPIRY).count() == 1


def test_credit_that_comes_back_to_an_expired_lot_expires_again(
    account: BillingAccount, hands: Hands, metered: Metered
) -> None:
    add_lot(account, LotKind.PROMOTIONAL, 3 * MICROS, START + DAY)
    metered()
    rate_open_intervals(until=hands.forward(hours=1))
    hands.forward(days=1)
    expire_credit()
    close_interval(
        "workload", 1, 1, ended_at=START + timedelta(hours=1), fault=Fault("node_lost", "It broke")
    )
    assert expire_credit() == 1
    assert funds_of(account).balance_micros == 50 * MICROS
    assert_books(account)


@pytest.mark.parametrize("away", [timedelta(0), -DAY])
def test_a_grant_that_ends_in_the_past_is_refused(
    account: BillingAccount, hands: Hands, away: timedelta
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        grant_credit(
            Actor.system("tests"),
            account,
            amount_micros=MICROS,
            reason="late",
            idempotency_key="late",
            expires_at=clock.now() + away,
        )
    assert "expires_at" in refusal.value.fields


def test_bought_credit_cannot_be_granted(account: BillingAccount) -> None:
    with pytest.raises(InvalidInput) as refusal:
        grant_credit(
            Actor.system("tests"),
            account,
            amount_micros=MICROS,
            reason="no",
            idempotency_key="no",
            kind=LotKind.PURCHASED,
        )
    assert "kind" in refusal.value.fields
