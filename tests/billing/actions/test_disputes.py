"""What a dispute does to the credit it is about."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe

from accounts.actor import Actor
from billing.actions.disputes import settle_dispute_id
from billing.actions.metering import close_interval
from billing.actions.payments import settle_session
from billing.actions.topups import start_top_up
from billing.choices import AccountCode, DisputeStatus
from billing.models import BillingAccount, Dispute, JournalEntry, LedgerAccount, Payment
from billing.queries.funds import funds_of
from billing.queries.refunds import refundable_cents
from portal.lib.errors import NotFound
from portal.lib.money import MICROS
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Box, Metered

DISPUTED = "4000 0000 0000 0259"
INQUIRY = "4000 0000 0000 1976"


def house(code: AccountCode) -> int:
    found = LedgerAccount.objects.filter(code=code, account=None).first()
    return found.balance_micros if found else 0


def pay(actor: Actor, box: Box, number: str) -> stripe.Dispute:
    """Alice has $50 given and has bought $25, which is disputed at once."""
    box.pay(start_top_up(actor, amount_cents=25_00), number=number)
    payment = settle_session(Payment.objects.latest("pk").checkout_session_id or "")
    listed = box.server.client.v1.disputes.list({"payment_intent": payment.payment_intent_id or ""})
    return listed.data[0]


def test_unused_credit_is_set_aside(account: BillingAccount, actor: Actor, box: Box) -> None:
    settle_dispute_id(pay(actor, box, DISPUTED).id)
    dispute = Dispute.objects.get()
    assert (dispute.status, dispute.withheld_micros) == (DisputeStatus.OPEN, 25 * MICROS)
    assert funds_of(account).balance_micros == 50 * MICROS
    assert house(AccountCode.DISPUTE_RECEIVABLE) == 25 * MICROS
    assert house(AccountCode.PSP_CLEARING) == 0
    assert refundable_cents(Payment.objects.get()) == 0
    assert_books(account)


def test_dispute_that_is_won_gives_the_credit_back(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    found = pay(actor, box, DISPUTED)
    settle_dispute_id(found.id)
    box.server.client.v1.disputes.update(
        found.id, {"evidence": {"uncategorized_text": "winning_evidence"}}
    )
    assert settle_dispute_id(found.id).status == DisputeStatus.WON
    assert funds_of(account).balance_micros == 75 * MICROS
    assert house(AccountCode.DISPUTE_RECEIVABLE) == 0
    assert refundable_cents(Payment.objects.get()) == 25_00
    assert_books(account)


def test_dispute_that_is_lost_takes_the_unused_credit_and_the_rest_is_our_loss(
    account: BillingAccount, actor: Actor, box: Box, metered: Metered
) -> None:
    found = pay(actor, box, DISPUTED)
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    settle_dispute_id(found.id)
    box.server.client.v1.disputes.close(found.id)
    assert settle_dispute_id(found.id).status == DisputeStatus.LOST
    assert funds_of(account).balance_micros == 0
    assert house(AccountCode.DISPUTE_LOSS) == 13 * MICROS
    assert house(AccountCode.DISPUTE_RECEIVABLE) == 0
    assert balance(account, AccountCode.REFUNDS_PENDING) == 0
    assert_books(account)


def test_news_that_comes_late_and_twice_is_applied_once(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    found = pay(actor, box, DISPUTED)
    box.server.client.v1.disputes.close(found.id)
    for _ in range(3):
        settle_dispute_id(found.id)
    kinds = JournalEntry.objects.filter(kind__startswith="dispute").values_list("kind", flat=True)
    assert sorted(kinds) == ["dispute", "dispute_lost"]
    assert_books(account)


def test_inquiry_moves_nothing(account: BillingAccount, actor: Actor, box: Box) -> None:
    settle_dispute_id(pay(actor, box, INQUIRY).id)
    assert Dispute.objects.get().status == DisputeStatus.INQUIRY
    assert funds_of(account).balance_micros == 75 * MICROS


def test_dispute_of_somebody_elses_payment_is_not_ours(db: None, box: Box) -> None:
    intent = box.server.client.v1.payment_intents.create(
        {
            "amount": 5_00,
            "currency": "usd",
            "payment_method": "pm_card_createDispute",
            "confirm": True,
        }
    )
    found = box.server.client.v1.disputes.list({"payment_intent": intent.id}).data[0]
    with pytest.raises(NotFound):
        settle_dispute_id(found.id)
