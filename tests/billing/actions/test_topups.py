"""Adding credit through the real client against the sandbox."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connections

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.metering import close_interval
from billing.actions.payments import new_payment, settle_session
from billing.actions.topups import start_top_up
from billing.choices import AccountCode, LotKind, PaymentPurpose, PaymentStatus
from billing.models import BillingAccount, JournalEntry, LedgerAccount, Payment
from billing.queries.funds import funds_of
from portal.lib.errors import Conflict, InvalidInput, NotFound, Unavailable
from portal.lib.money import MICROS
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Box, Metered
from tests.ports import free_port


def session_of(payment: Payment) -> str:
    assert payment.checkout_session_id is not None
    return payment.checkout_session_id


def test_top_up_leads_to_a_payment_page(actor: Actor, box: Box) -> None:
    url = start_top_up(actor, amount_cents=25_00)
    payment = Payment.objects.get()
    assert url.startswith(box.server.url)
    assert (payment.status, payment.amount_micros) == (PaymentStatus.SUBMITTED, 25 * MICROS)
    assert session_of(payment) in url


def test_paid_session_becomes_bought_credit(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    payment = settle_session(session_of(Payment.objects.get()))
    assert payment.status == PaymentStatus.SUCCEEDED
    assert balance(account, AccountCode.CUSTOMER_CREDIT) == -25 * MICROS
    assert LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros == 25 * MICROS
    assert account.lots.get(kind=LotKind.PURCHASED).remaining_micros == 25 * MICROS
    assert_books(account)


def test_settling_again_changes_nothing(account: BillingAccount, actor: Actor, box: Box) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    for _ in range(3):
        settle_session(session_of(Payment.objects.get()))
    assert funds_of(account).balance_micros == 75 * MICROS


def test_unpaid_session_gives_nothing(account: BillingAccount, actor: Actor, box: Box) -> None:
    start_top_up(actor, amount_cents=25_00)
    payment = settle_session(session_of(Payment.objects.get()))
    assert payment.status == PaymentStatus.SUBMITTED
    assert funds_of(account).balance_micros == 50 * MICROS


def test_declined_card_gives_nothing(account: BillingAccount, actor: Actor, box: Box) -> None:
    url = start_top_up(actor, amount_cents=25_00)
    assert box.pay(url, number="4000 0000 0000 0002").status_code == 402
    settle_session(session_of(Payment.objects.get()))
    assert funds_of(account).balance_micros == 50 * MICROS


def test_expired_session_is_canceled(actor: Actor, box: Box) -> None:
    start_top_up(actor, amount_cents=25_00)
    session_id = session_of(Payment.objects.get())
    box.server.client.v1.checkout.sessions.expire(session_id)
    assert settle_session(session_id).status == PaymentStatus.CANCELED


def test_crash_before_the_session_was_noted_still_credits(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    session_id = session_of(Payment.objects.get())
    Payment.objects.update(checkout_session_id=None, status=PaymentStatus.DRAFT)
    settle_session(session_id)
    assert funds_of(account).balance_micros == 75 * MICROS


def test_session_of_another_amount_is_refused(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    Payment.objects.update(amount_micros=2_500 * MICROS, net_micros=2_500 * MICROS)
    with pytest.raises(Conflict):
        settle_session(session_of(Payment.objects.get()))
    assert funds_of(account).balance_micros == 50 * MICROS


def test_session_that_is_not_ours_is_not_found(db: None, box: Box) -> None:
    session = box.server.session()
    with pytest.raises(NotFound):
        settle_session(session.id)
    with pytest.raises(NotFound):
        settle_session("cs_test_nothing")


def test_second_top_up_is_of_the_same_customer(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    settle_session(session_of(Payment.objects.get()))
    account.refresh_from_db()
    assert account.stripe_customer_id
    start_top_up(actor, amount_cents=10_00)
    newest = session_of(Payment.objects.latest("pk"))
    second = box.server.client.v1.checkout.sessions.retrieve(newest)
    assert second.customer == account.stripe_customer_id


@pytest.mark.parametrize("cents", [4_99, 0, -1, 5_000_01])
def test_amount_out_of_bounds_makes_nothing(actor: Actor, cents: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        start_top_up(actor, amount_cents=cents)
    assert "amount" in refusal.value.fields
    assert not Payment.objects.exists()


def test_silent_stripe_is_unavailable_and_the_intent_stays(
    account: BillingAccount, actor: Actor, settings: Any
) -> None:
    BillingAccount.objects.update(stripe_customer_id="cus_known")
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable):
        start_top_up(actor, amount_cents=25_00)
    assert Payment.objects.get().status == PaymentStatus.DRAFT


def test_member_may_top_up(bob: User, box: Box) -> None:
    assert start_top_up(actor_of_user(bob), amount_cents=5_00)


def test_top_up_pays_debt_first(
    account: BillingAccount, actor: Actor, box: Box, metered: Metered
) -> None:
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    box.pay(start_top_up(actor, amount_cents=25_00))
    settle_session(session_of(Payment.objects.get()))
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert funds_of(account).balance_micros == 12 * MICROS
    assert_books(account)


def test_the_database_holds_one_payment_for_one_at_stripe(account: BillingAccount) -> None:
    for intent in ("pi_1", "pi_2"):
        payment = new_payment(account, purpose=PaymentPurpose.TOP_UP, net_cents=5_00)
        Payment.objects.filter(pk=payment.pk).update(payment_intent_id=intent)
    with pytest.raises(IntegrityError, match="payment_intent_id"):
        Payment.objects.update(payment_intent_id="pi_1")


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_credit_once(account: BillingAccount, actor: Actor, box: Box) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    session_id = session_of(Payment.objects.get())
    barrier = threading.Barrier(8)
    found: list[str] = []

    def call() -> None:
        try:
            barrier.wait(timeout=30)
            found.append(settle_session(session_id).status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [PaymentStatus.SUCCEEDED] * 8
    assert JournalEntry.objects.filter(kind="top_up").count() == 1
    assert funds_of(account).balance_micros == 75 * MICROS
    assert_books(account)
