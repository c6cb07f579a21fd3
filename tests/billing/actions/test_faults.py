"""What a fault of ours cost is given back by itself, once, to where it was paid from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, InternalError, connection, transaction

from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.credit import grant_credit
from billing.actions.faults import Fault, credit_fault
from billing.actions.metering import close_interval, rate_open_intervals
from billing.choices import AccountCode, EntryKind
from billing.models import BillingAccount, JournalEntry, UsageCredit
from billing.queries.funds import funds_of
from billing.queries.usage import (
    billed_us_of,
    cost_of,
    intervals_of,
    spent_micros,
    usage_by_resource,
)
from portal.lib.money import MICROS
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Hands, Metered

LOST = Fault("node_lost", "Node gpu-3 was lost")
MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))


def test_all_of_it_comes_back_with_a_sentence(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    rate_open_intervals(until=hands.forward(minutes=10))
    hands.forward(minutes=2, seconds=4)
    close_interval("workload", 1, 1, ended_at=hands.now, fault=LOST)
    credit = UsageCredit.objects.get()
    assert credit.words == "Node gpu-3 was lost: 12 min 4 s are not billed."
    assert credit.entry is not None
    assert (credit.entry.kind, credit.entry.memo) == (EntryKind.SERVICE_CREDIT, credit.words)
    assert funds_of(account).balance_micros == 50 * MICROS
    assert cost_of("workload", [1]) == {1: 0}
    assert billed_us_of("workload", [1]) == {1: 0}
    assert spent_micros(account, at=hands.now) == 0
    assert_books(account)


def test_the_usage_stays_and_the_credit_is_a_line_of_its_own(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=1), fault=LOST)
    (part,) = intervals_of("workload", 1)
    assert part.credit is not None
    assert (part.amount_micros, part.credit.amount_micros, part.net_micros) == (
        2_100_000,
        2_100_000,
        0,
    )


def test_an_end_that_is_told_twice_gives_back_once(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    for _ in range(2):
        closed = close_interval("workload", 1, 1, ended_at=hands.forward(hours=1), fault=LOST)
        assert closed is not None
        with transaction.atomic():
            credit_fault(lock_account(account.pk), closed, LOST)
    assert JournalEntry.objects.filter(kind=EntryKind.SERVICE_CREDIT).count() == 1
    assert funds_of(account).balance_micros == 50 * MICROS
    assert_books(account)


def test_debt_is_forgiven_first(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=3), fault=LOST)  # $63 of $50
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert balance(account, AccountCode.PROMO_CREDIT) == -50 * MICROS
    assert_books(account)


def test_debt_that_was_paid_meanwhile_comes_back_as_credit(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(quantity=10)
    rate_open_intervals(until=hands.forward(hours=3))
    grant_credit(
        Actor.system(), account, amount_micros=20 * MICROS, reason="more", idempotency_key="x"
    )
    close_interval("workload", 1, 1, ended_at=hands.now, fault=LOST)
    assert funds_of(account).balance_micros == 70 * MICROS
    assert_books(account)


def test_an_end_told_late_is_brought_back_and_credited(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    rate_open_intervals(until=hands.forward(hours=3))
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1), fault=LOST)
    assert UsageCredit.objects.get().amount_micros == 2_100_000
    assert funds_of(account).balance_micros == 50 * MICROS
    assert_books(account)


def test_a_credit_counts_in_the_month_it_is_posted(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(at=JUNE - timedelta(hours=2))
    hands.now = JUNE + timedelta(hours=1)
    rate_open_intervals(until=hands.now)
    account.closed_until = JUNE
    account.save()
    close_interval("workload", 1, 1, ended_at=JUNE - timedelta(hours=1), fault=LOST)
    may = usage_by_resource(account, start=MAY, end=JUNE)
    june = usage_by_resource(account, start=JUNE, end=JULY)
    assert [line.amount_micros for line in may] == [2_100_000]
    assert [line.amount_micros for line in june] == [-2_100_000]
    assert funds_of(account).balance_micros == 50 * MICROS
    assert_books(account)


def test_what_cost_nothing_leaves_no_entry(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START, fault=LOST)
    credit = UsageCredit.objects.get()
    assert (credit.amount_micros, credit.entry) == (0, None)
    assert_books(account)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE billing_usagecredit SET amount_micros = 1", "DELETE FROM billing_usagecredit"],
)
def test_credits_are_append_only(metered: Metered, hands: Hands, statement: str) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=1), fault=LOST)
    with (
        pytest.raises((IntegrityError, InternalError), match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
