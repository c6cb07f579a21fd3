"""The journal and the triggers that guard it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, connections, transaction

from billing.actions.ledger import PostingDraft, post_entry
from billing.choices import AccountCode, EntryKind
from billing.models import BillingAccount, JournalEntry, LedgerAccount, Posting
from portal.lib.errors import Conflict
from tests.billing.actions.ledger import check_now, commit
from tests.billing.books import assert_journal

AT = datetime(2026, 5, 4, tzinfo=UTC)


def post(account: BillingAccount, key: str = "a", amount: int = 5, other: int = -5) -> JournalEntry:
    return post_entry(
        kind=EntryKind.USAGE,
        idempotency_key=key,
        effective_at=AT,
        postings=[
            PostingDraft(AccountCode.ACCOUNTS_RECEIVABLE, amount, "usd", account.pk),
            PostingDraft(AccountCode.REVENUE_USAGE, other, "usd"),
        ],
    )


def test_entry_moves_the_cached_balances(account: BillingAccount) -> None:
    post(account)
    line = LedgerAccount.objects.get(code=AccountCode.ACCOUNTS_RECEIVABLE, account=account)
    assert line.balance_micros == 5
    house = LedgerAccount.objects.get(code=AccountCode.REVENUE_USAGE)
    assert (house.account, house.balance_micros) == (None, -5)


def test_same_key_and_content_is_one_entry(account: BillingAccount) -> None:
    assert post(account).pk == post(account).pk
    assert Posting.objects.filter(entry__idempotency_key="a").count() == 2


def test_same_key_with_other_content_is_refused(account: BillingAccount) -> None:
    post(account)
    with pytest.raises(Conflict):
        post(account, amount=6, other=-6)


def test_unbalanced_entry_is_refused_at_commit(account: BillingAccount) -> None:
    with pytest.raises(IntegrityError, match="off balance by 1 usd"):
        commit(lambda: post(account, amount=6))


def test_entry_without_postings_is_refused_at_commit(account: BillingAccount) -> None:
    entry = JournalEntry(kind=EntryKind.USAGE, idempotency_key="x", effective_at=AT)
    with pytest.raises(IntegrityError, match="needs two or more"):
        commit(entry.save)


def test_posting_of_another_currency_is_refused(account: BillingAccount) -> None:
    entry = post(account)
    line = LedgerAccount.objects.get(code=AccountCode.ACCOUNTS_RECEIVABLE, account=account)
    legs = [
        Posting(entry=entry, account=line, amount_micros=amount, currency="eur")
        for amount in (1, -1)
    ]
    with pytest.raises(IntegrityError, match="another currency"):
        commit(lambda: Posting.objects.bulk_create(legs))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_posting SET amount_micros = amount_micros + 1",
        "DELETE FROM billing_posting",
        "TRUNCATE billing_posting CASCADE",
        "UPDATE billing_journalentry SET memo = 'other'",
        "DELETE FROM billing_journalentry",
        "TRUNCATE billing_journalentry CASCADE",
    ],
)
def test_journal_is_append_only(account: BillingAccount, statement: str) -> None:
    post(account)
    check_now()
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_credit_cannot_be_overspent(account: BillingAccount) -> None:
    with pytest.raises(IntegrityError, match="ledger_credit_floor"), transaction.atomic():
        post_entry(
            kind=EntryKind.USAGE,
            idempotency_key="too much",
            effective_at=AT,
            postings=[
                PostingDraft(AccountCode.CUSTOMER_CREDIT, 1, "usd", account.pk),
                PostingDraft(AccountCode.REVENUE_USAGE, -1, "usd"),
            ],
        )


@pytest.mark.django_db(transaction=True)
def test_sixteen_callers_with_one_key_make_one_entry(account: BillingAccount) -> None:
    barrier = threading.Barrier(16)
    found: list[int] = []

    def call() -> None:
        try:
            barrier.wait(timeout=30)
            found.append(post(account, key="race").pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    line = LedgerAccount.objects.get(code=AccountCode.ACCOUNTS_RECEIVABLE, account=account)
    assert line.balance_micros == 5
    assert_journal(account)
