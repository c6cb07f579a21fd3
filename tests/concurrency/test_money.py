"""Money under callers at once: the race without the guard, then that ours holds (I4, I5, I18).

The naive versions look, give their connection back, wait until everybody has looked, and act on
what they saw: what a busy server does by chance happens here each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection

from accounts.actor import Actor
from billing.actions.auto_top_up import request, set_rule
from billing.actions.credit import grant_credit
from billing.actions.holds import take_hold
from billing.actions.ledger import PostingDraft, post_entry
from billing.choices import AccountCode, EntryKind
from billing.models import BillingAccount, JournalEntry, LedgerAccount, Payment
from billing.queries.funds import funds_of
from portal.lib.errors import Conflict, InsufficientFunds
from portal.lib.money import MICROS
from tests.billing.books import assert_journal, balance
from tests.billing.conftest import Box
from tests.concurrency.race import MOST, at_once, refusals

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 5, 4, tzinfo=UTC)
FIVE = 5 * MICROS
DRAINERS = 16
Run = Callable[..., list[tuple[int]]]


@pytest.fixture
def scratch() -> Iterator[Run]:
    """A table without any guard: `word` and `amount`."""

    def run(sql: str, *values: int) -> list[tuple[int]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    run("CREATE TABLE naive (word text, amount bigint)")
    yield run
    run("DROP TABLE naive")


def spend(account: BillingAccount, key: str, micros: int) -> JournalEntry:
    """Take credit out of the books, whatever the lots say."""
    return post_entry(
        kind=EntryKind.EXPIRY,
        idempotency_key=key,
        effective_at=AT,
        postings=[
            PostingDraft(AccountCode.PROMO_CREDIT, micros, "usd", account.pk),
            PostingDraft(AccountCode.PROMO_EXPENSE, -micros, "usd"),
        ],
    )


# --- I4: the same key is one deed ----------------------------------------------------------------


def test_looking_for_the_key_first_does_it_many_times(scratch: Run) -> None:
    everybody_has_looked = threading.Barrier(MOST)

    def post(_: int) -> None:
        ((known,),) = scratch("SELECT count(*) FROM naive WHERE word = 'key'")
        connection.close()
        everybody_has_looked.wait(timeout=60)
        if not known:
            scratch("INSERT INTO naive VALUES ('key', 5)")

    at_once(MOST, post)
    assert scratch("SELECT count(*) FROM naive") == [(MOST,)]


def test_64_callers_with_one_key_make_one_entry(account: BillingAccount) -> None:
    results = at_once(MOST, lambda _: spend(account, "key", FIVE).pk)
    assert len(results) == MOST
    assert len(set(results)) == 1
    assert balance(account, AccountCode.PROMO_CREDIT) == -45 * MICROS


def test_64_callers_with_two_contents_for_one_key_get_one_of_them_and_conflicts(
    account: BillingAccount,
) -> None:
    results = at_once(MOST, lambda number: spend(account, "key", FIVE + number % 2).pk)
    refused = refusals(list(results))
    assert len(refused) == MOST // 2
    assert {type(error) for error in refused} == {Conflict}
    assert JournalEntry.objects.filter(idempotency_key="key").count() == 1
    assert -balance(account, AccountCode.PROMO_CREDIT) in {45 * MICROS, 45 * MICROS - 1}


def test_64_callers_with_the_key_of_a_refusal_are_all_refused(account: BillingAccount) -> None:
    results = at_once(MOST, lambda _: spend(account, "key", 50 * MICROS + 1))
    assert {type(result) for result in results} == {IntegrityError}
    assert not JournalEntry.objects.filter(idempotency_key="key").exists()
    assert balance(account, AccountCode.PROMO_CREDIT) == -50 * MICROS


def test_64_gifts_with_one_key_are_one_gift(account: BillingAccount) -> None:
    def give(_: int) -> int:
        entry = grant_credit(
            Actor.system("tests"), account, amount_micros=FIVE, reason="x", idempotency_key="key"
        )
        return entry.pk

    assert len(set(at_once(MOST, give))) == 1
    assert funds_of(account).balance_micros == 55 * MICROS
    assert_journal(account)


# --- I5: nobody spends what another has spent ----------------------------------------------------


def test_reading_the_balance_first_spends_it_many_times(scratch: Run) -> None:
    scratch("INSERT INTO naive VALUES ('balance', %s)", 50 * MICROS)
    everybody_has_looked = threading.Barrier(DRAINERS)

    def take(_: int) -> bool:
        ((have,),) = scratch("SELECT amount FROM naive WHERE word = 'balance'")
        connection.close()
        everybody_has_looked.wait(timeout=60)
        if have >= FIVE:
            scratch("UPDATE naive SET amount = %s WHERE word = 'balance'", have - FIVE)
        return have >= FIVE

    assert sum(bool(result) for result in at_once(DRAINERS, take)) == DRAINERS
    assert scratch("SELECT amount FROM naive") == [(45 * MICROS,)]  # $80 of $50 are gone


def test_checking_the_balance_first_takes_it_below_zero(scratch: Run) -> None:
    scratch("INSERT INTO naive VALUES ('balance', %s)", 50 * MICROS)
    everybody_has_looked = threading.Barrier(DRAINERS)

    def take(_: int) -> None:
        ((have,),) = scratch("SELECT amount FROM naive WHERE word = 'balance'")
        connection.close()
        everybody_has_looked.wait(timeout=60)
        if have >= FIVE:
            scratch("UPDATE naive SET amount = amount - %s WHERE word = 'balance'", FIVE)

    at_once(DRAINERS, take)
    assert scratch("SELECT amount FROM naive") == [(-30 * MICROS,)]


def test_drained_by_many_the_ledger_stops_at_zero(account: BillingAccount) -> None:
    results = at_once(DRAINERS, lambda number: spend(account, f"key {number}", FIVE).pk)
    refused = refusals(list(results))
    assert {type(error) for error in refused} == {IntegrityError}
    assert len(refused) == DRAINERS - 10
    assert balance(account, AccountCode.PROMO_CREDIT) == 0
    posted = LedgerAccount.objects.get(code=AccountCode.PROMO_CREDIT).postings.values_list(
        "amount_micros", flat=True
    )
    assert sum(posted) == 0


def test_held_by_many_no_more_is_held_than_there_is(account: BillingAccount) -> None:
    def hold(number: int) -> int:
        held = take_hold(account, resource_kind="workload", resource_id=number, amount_micros=FIVE)
        return held.pk

    refused = refusals(list(at_once(DRAINERS, hold)))
    assert {type(error) for error in refused} == {InsufficientFunds}
    assert len(refused) == DRAINERS - 10
    assert funds_of(account).available_micros == 0


# --- I18: one automatic top-up at a time ---------------------------------------------------------


def test_looking_for_one_in_flight_first_charges_many_times(scratch: Run) -> None:
    everybody_has_looked = threading.Barrier(DRAINERS)

    def charge(_: int) -> None:
        ((in_flight,),) = scratch("SELECT count(*) FROM naive WHERE word = 'in flight'")
        connection.close()
        everybody_has_looked.wait(timeout=60)
        if not in_flight:
            scratch("INSERT INTO naive VALUES ('in flight', 4000)")

    at_once(DRAINERS, charge)
    assert scratch("SELECT count(*) FROM naive") == [(DRAINERS,)]


def test_asked_by_many_one_automatic_top_up_is_charged(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    card = box.save_card(actor)
    set_rule(actor, threshold_cents=60_00, amount_cents=40_00, monthly_maximum_cents=500_00)
    results = at_once(DRAINERS, lambda _: request(account.pk))
    assert refusals(list(results)) == []
    assert sum(result is not None for result in results) == 1
    assert Payment.objects.get().status == "succeeded"
    charges = box.server.client.v1.payment_intents.list(
        {"customer": card.account.stripe_customer_id or ""}
    )
    assert len(charges.data) == 1
    assert funds_of(account).balance_micros == 90 * MICROS
    assert_journal(account)
