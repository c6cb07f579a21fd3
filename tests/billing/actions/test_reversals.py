"""A reversal is linked to what it undoes, mirrors it, and is made once (I20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from billing.actions.disputes import settle_dispute
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.metering import close_interval
from billing.actions.payments import new_payment, settle_payment
from billing.actions.psp_sync import keep_movements
from billing.actions.refunds import settle_refund
from billing.choices import (
    AccountCode,
    DisputeStatus,
    EntryKind,
    PaymentPurpose,
    PaymentStatus,
    RefundStatus,
)
from billing.gateways.facts import PaymentFacts
from billing.gateways.records import DisputeFacts, Movement
from billing.gateways.refunds import RefundFacts
from billing.models import BillingAccount, JournalEntry, LedgerAccount
from billing.queries.funds import funds_of
from portal.lib.errors import Conflict
from portal.lib.money import MICROS
from tests.billing.actions.ledger import check_now, commit
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Metered

AT = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
def paid(account: BillingAccount) -> str:
    """Alice has $50 given and has bought $25; the name of that payment at Stripe."""
    payment = new_payment(account, purpose=PaymentPurpose.TOP_UP, net_cents=25_00)
    facts = PaymentFacts(
        reference=payment.public_id,
        status=PaymentStatus.SUCCEEDED,
        amount_cents=25_00,
        currency="usd",
        intent_id="pi_1",
    )
    settle_payment(facts)
    return "pi_1"


def refund(status: RefundStatus) -> None:
    settle_refund(RefundFacts("re_1", "", "pi_1", 25_00, "usd", status, ""))


def dispute(status: DisputeStatus) -> None:
    settle_dispute(DisputeFacts("dp_1", "pi_1", 25_00, "usd", "fraudulent", status, True))


def payout(kind: str, cents: int, fee: int = 0) -> Movement:
    return Movement(f"txn_{kind}", kind, "po_1", cents, fee, cents - fee, "usd", AT)


def reversed_by(kind: EntryKind) -> EntryKind:
    """What the only entry of `kind` has undone."""
    entry = JournalEntry.objects.get(kind=kind)
    assert entry.reverses is not None
    check_now()
    return EntryKind(entry.reverses.kind)


def mirror(of: JournalEntry, key: str, *, off: int = 0) -> JournalEntry:
    legs = [
        PostingDraft(
            AccountCode(leg.account.code), -leg.amount_micros, "usd", leg.account.account_id
        )
        for leg in of.postings.select_related("account")
    ]
    if off:
        legs.append(PostingDraft(AccountCode.BAD_DEBT, off, "usd"))
        legs.append(PostingDraft(AccountCode.ROUNDING, -off, "usd"))
    return post_entry(
        kind=EntryKind.REVERSAL, idempotency_key=key, effective_at=AT, postings=legs, reverses=of
    )


def granted() -> JournalEntry:
    return JournalEntry.objects.get(kind=EntryKind.GRANT)


def test_second_reversal_of_an_entry_is_refused_by_the_database(account: BillingAccount) -> None:
    commit(lambda: mirror(granted(), "once"))
    with pytest.raises(IntegrityError, match="reverses"), transaction.atomic():
        mirror(granted(), "twice")


def test_reversal_that_is_no_mirror_is_refused_at_commit(account: BillingAccount) -> None:
    with pytest.raises(IntegrityError, match="does not mirror"):
        commit(lambda: mirror(granted(), "off", off=1))


def test_same_reversal_told_twice_is_one_and_of_another_entry_is_refused(
    account: BillingAccount, paid: str
) -> None:
    first = mirror(granted(), "key")
    assert mirror(granted(), "key") == first
    with pytest.raises(Conflict):
        post_entry(
            kind=EntryKind.REVERSAL,
            idempotency_key="key",
            effective_at=AT,
            postings=[
                PostingDraft(AccountCode.PROMO_CREDIT, 50 * MICROS, "usd", account.pk),
                PostingDraft(AccountCode.PROMO_EXPENSE, -50 * MICROS, "usd"),
            ],
            reverses=JournalEntry.objects.get(kind=EntryKind.TOP_UP),
        )


def test_refund_that_failed_reverses_its_asking(account: BillingAccount, paid: str) -> None:
    refund(RefundStatus.PENDING)
    refund(RefundStatus.FAILED)
    assert reversed_by(EntryKind.REFUND_FAILED) == EntryKind.REFUND
    assert funds_of(account).balance_micros == 75 * MICROS


def test_refund_that_the_bank_sends_back_reverses_both_its_steps(
    account: BillingAccount, paid: str
) -> None:
    refund(RefundStatus.SUCCEEDED)
    refund(RefundStatus.FAILED)
    assert reversed_by(EntryKind.REFUND_RETURNED) == EntryKind.REFUND_PAID
    assert reversed_by(EntryKind.REFUND_FAILED) == EntryKind.REFUND
    assert balance(account, AccountCode.REFUNDS_PENDING) == 0
    assert LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros == 25 * MICROS


def test_refund_that_fails_when_there_is_debt_pays_it_and_is_still_a_mirror(
    account: BillingAccount, paid: str, metered: Metered
) -> None:
    refund(RefundStatus.PENDING)
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    refund(RefundStatus.FAILED)
    assert reversed_by(EntryKind.REFUND_FAILED) == EntryKind.REFUND
    assert funds_of(account).balance_micros == 12 * MICROS
    assert_books(account)


def test_dispute_that_is_won_reverses_its_opening(account: BillingAccount, paid: str) -> None:
    dispute(DisputeStatus.OPEN)
    dispute(DisputeStatus.WON)
    assert reversed_by(EntryKind.DISPUTE_WON) == EntryKind.DISPUTE


def test_dispute_that_is_lost_reverses_nothing(account: BillingAccount, paid: str) -> None:
    dispute(DisputeStatus.OPEN)
    dispute(DisputeStatus.LOST)
    assert JournalEntry.objects.get(kind=EntryKind.DISPUTE_LOST).reverses is None
    check_now()


def test_payout_that_comes_back_reverses_it(account: BillingAccount, paid: str) -> None:
    keep_movements([payout("payout", -20_00)])
    keep_movements([payout("payout_failure", 20_00)])
    assert reversed_by(EntryKind.PAYOUT_FAILED) == EntryKind.PAYOUT
    assert LedgerAccount.objects.get(code=AccountCode.BANK).balance_micros == 0
    assert LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros == 25 * MICROS


def test_payout_that_comes_back_less_a_fee_is_posted_without_a_link(
    account: BillingAccount, paid: str
) -> None:
    keep_movements([payout("payout", -20_00, fee=50)])
    keep_movements([payout("payout_failure", 20_00)])
    assert JournalEntry.objects.get(kind=EntryKind.PAYOUT_FAILED).reverses is None
    check_now()
    clearing = LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros
    assert clearing == 24_500_000
