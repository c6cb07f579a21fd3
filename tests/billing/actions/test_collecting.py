"""Invoices of teams that pay after use: charged once, paid by whatever comes in."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.collecting import charge_invoice, collect, write_off
from billing.actions.metering import close_interval
from billing.actions.month_close import close_due_months
from billing.actions.payments import settle_intent, settle_session
from billing.actions.topups import start_top_up
from billing.choices import (
    AccountCode,
    Collection,
    InvoiceStatus,
    PaymentPurpose,
    PaymentStatus,
)
from billing.models import BillingAccount, CreditLot, Invoice, Payment
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.errors import InvalidInput, NotAllowed, Unavailable
from portal.lib.money import MICROS
from tests.billing.books import assert_journal, balance
from tests.billing.conftest import START, Box, Hands, Metered

GOOD = "4242 4242 4242 4242"
DECLINES_LATER = "4000 0000 0000 0341"
HOURS = 10


@pytest.fixture
def after_use(account: BillingAccount, hands: Hands) -> BillingAccount:
    """A team without credit that pays by invoice."""
    CreditLot.objects.update(expires_at=START - timedelta(days=1))
    BillingAccount.objects.update(collection=Collection.POSTPAID, credit_limit_micros=1000 * MICROS)
    account.refresh_from_db()
    return account


@pytest.fixture
def invoice(after_use: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    """$21 for May, issued on the second of June."""
    return next_invoice(after_use, metered, hands, START, 1)


def next_invoice(
    account: BillingAccount, metered: Metered, hands: Hands, at: datetime, number: int
) -> Invoice:
    metered(number, at=at)
    close_interval("workload", number, 1, ended_at=at + timedelta(hours=HOURS))
    hands.now = datetime(at.year, at.month + 1, 2, tzinfo=UTC)
    close_due_months()
    return Invoice.objects.get(account=account, period_start__month=at.month, kind="usage")


def test_saved_card_is_charged_for_the_invoice(invoice: Invoice, actor: Actor, box: Box) -> None:
    box.save_card(actor)
    assert collect() == 1
    payment = Payment.objects.get()
    assert (payment.purpose, payment.status) == (PaymentPurpose.INVOICE, PaymentStatus.SUCCEEDED)
    assert payment.amount_micros == 21 * MICROS
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert balance(invoice.account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert_journal(invoice.account)


def test_paid_invoice_is_not_charged_again(invoice: Invoice, actor: Actor, box: Box) -> None:
    box.save_card(actor)
    collect()
    assert collect() == 0
    assert charge_invoice(invoice.pk) is None
    assert Payment.objects.count() == 1


def test_team_without_a_card_waits(invoice: Invoice, actor: Actor, box: Box) -> None:
    assert collect() == 0
    assert not Payment.objects.exists()
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.FINAL


def test_declined_card_is_tried_again_on_other_days_and_then_left(
    invoice: Invoice, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, DECLINES_LATER)
    tries = []
    for _ in range(7):
        collect()
        collect()
        tries.append(Payment.objects.count())
        hands.forward(days=1, seconds=1)
    assert tries == [1, 2, 3, 4, 4, 4, 4]


def test_top_up_pays_the_invoice_and_the_rest_is_credit(
    invoice: Invoice, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00), number=GOOD)
    settle_session(Payment.objects.latest("pk").checkout_session_id or "")
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert funds_of(invoice.account).balance_micros == 4 * MICROS


def test_oldest_invoice_is_paid_first(
    invoice: Invoice, actor: Actor, box: Box, metered: Metered, hands: Hands
) -> None:
    june = next_invoice(invoice.account, metered, hands, datetime(2026, 6, 10, tzinfo=UTC), 2)
    box.pay(start_top_up(actor, amount_cents=25_00), number=GOOD)
    settle_session(Payment.objects.latest("pk").checkout_session_id or "")
    invoice.refresh_from_db()
    june.refresh_from_db()
    assert (invoice.status, june.status) == (InvoiceStatus.PAID, InvoiceStatus.FINAL)
    box.save_card(actor)
    collect()
    assert Payment.objects.latest("pk").amount_micros == 17 * MICROS


def test_payment_that_comes_after_another_has_paid_is_credit(
    invoice: Invoice, actor: Actor, box: Box
) -> None:
    box.save_card(actor)
    box.dial(what="drop_response", method="POST", path="/v1/payment_intents", count="1")
    with pytest.raises(Unavailable):
        charge_invoice(invoice.pk)
    box.pay(start_top_up(actor, amount_cents=25_00), number=GOOD)
    settle_session(Payment.objects.latest("pk").checkout_session_id or "")
    late = box.server.client.v1.payment_intents.list({"limit": 10}).data
    settle_intent(next(intent.id for intent in late if intent.amount == 21_00))
    assert Payment.objects.filter(status=PaymentStatus.SUCCEEDED).count() == 2
    assert funds_of(invoice.account).balance_micros == 25 * MICROS
    assert_journal(invoice.account)


@pytest.mark.django_db(transaction=True)
def test_many_askers_charge_once(
    alice: User, account: BillingAccount, hands: Hands, metered: Metered, box: Box
) -> None:
    CreditLot.objects.update(expires_at=START - timedelta(days=1))
    BillingAccount.objects.update(collection=Collection.POSTPAID, credit_limit_micros=1000 * MICROS)
    account.refresh_from_db()
    invoice = next_invoice(account, metered, hands, START, 1)
    box.save_card(actor_of_user(alice))
    moment = hands.now

    def ask() -> None:
        with clock.use(lambda: moment):
            charge_invoice(invoice.pk)
        connections.close_all()

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert Payment.objects.count() == 1
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0


def test_staff_may_give_up_a_debt(invoice: Invoice, dora: User) -> None:
    given_up = write_off(
        Actor.staff(dora, team=invoice.account.team, reason="books"),
        invoice.public_id,
        why="The lab has closed.",
    )
    assert given_up.status == InvoiceStatus.UNCOLLECTIBLE
    assert balance(invoice.account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert_journal(invoice.account)


def test_owner_may_not_give_up_a_debt(invoice: Invoice, actor: Actor) -> None:
    with pytest.raises(NotAllowed):
        write_off(actor, invoice.public_id, why="I would rather not.")


def test_giving_up_asks_why(invoice: Invoice, dora: User) -> None:
    with pytest.raises(InvalidInput):
        write_off(
            Actor.staff(dora, team=invoice.account.team, reason="books"), invoice.public_id, why=" "
        )
