"""Unused bought credit goes back to its card; never more than that (I15)."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import Sum

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.faults import Fault
from billing.actions.holds import take_hold
from billing.actions.metering import close_interval, rate_open_intervals
from billing.actions.payments import new_payment, settle_payment, settle_session
from billing.actions.recovery import recover_refunds
from billing.actions.refund_tax import tax_share
from billing.actions.refunds import refund_payment, settle_refund, settle_refund_id
from billing.actions.topups import start_top_up
from billing.choices import AccountCode, PaymentPurpose, PaymentStatus, RefundStatus
from billing.gateways.facts import PaymentFacts
from billing.gateways.refunds import RefundFacts
from billing.models import BillingAccount, LedgerAccount, Payment, Refund
from billing.queries.funds import funds_of
from billing.queries.refunds import refundable_cents
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from portal.lib.money import MICROS, from_cents, to_cents
from tests.billing.books import assert_books, balance
from tests.billing.conftest import START, Box, Metered
from tests.ports import free_port

FAILS_LATER = "4000 0000 0000 5126"
PENDING = "4000 0000 0000 7726"


def clearing() -> int:
    return LedgerAccount.objects.get(code=AccountCode.PSP_CLEARING).balance_micros


@pytest.fixture
def paid(actor: Actor, box: Box) -> Payment:
    return pay(actor, box)


def pay(actor: Actor, box: Box, number: str = "4242 4242 4242 4242") -> Payment:
    """Alice has $50 given and has bought $25."""
    box.pay(start_top_up(actor, amount_cents=25_00), number=number)
    return settle_session(Payment.objects.latest("pk").checkout_session_id or "")


def test_unused_credit_goes_back(
    account: BillingAccount, actor: Actor, box: Box, paid: Payment
) -> None:
    refund = refund_payment(actor, paid)
    assert (refund.status, refund.amount_micros) == (RefundStatus.SUCCEEDED, 25 * MICROS)
    assert funds_of(account).balance_micros == 50 * MICROS
    assert clearing() == 0
    assert balance(account, AccountCode.REFUNDS_PENDING) == 0
    assert_books(account)


def test_part_leaves_the_rest(account: BillingAccount, actor: Actor, paid: Payment) -> None:
    refund_payment(actor, paid, net_cents=10_00)
    paid.refresh_from_db()
    assert paid.refunded_micros == 10 * MICROS
    assert refundable_cents(paid) == 15_00


def test_used_credit_does_not_go_back(
    account: BillingAccount, actor: Actor, paid: Payment, metered: Metered
) -> None:
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    assert refundable_cents(paid) == 12_00
    with pytest.raises(InvalidInput) as refusal:
        refund_payment(actor, paid, net_cents=12_01)
    assert "$12.00" in str(refusal.value.fields["amount"])
    assert not Refund.objects.exists()


def test_held_credit_does_not_go_back(account: BillingAccount, actor: Actor, paid: Payment) -> None:
    take_hold(account, resource_kind="workload", resource_id=1, amount_micros=70 * MICROS)
    assert refundable_cents(paid) == 5_00


@pytest.mark.parametrize("cents", [0, -1, 25_01, 9 * 10**18])
def test_amount_above_what_is_left_is_refused(actor: Actor, paid: Payment, cents: int) -> None:
    with pytest.raises(InvalidInput):
        refund_payment(actor, paid, net_cents=cents)
    assert not Refund.objects.exists()


def test_member_may_not_refund(bob: User, paid: Payment) -> None:
    with pytest.raises(NotAllowed):
        refund_payment(actor_of_user(bob), paid)


def test_refund_that_fails_later_is_credit_again(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    refund = refund_payment(actor, pay(actor, box, FAILS_LATER))
    assert refund.status == RefundStatus.SUCCEEDED
    box.server.advance(4000)
    again = settle_refund_id(refund.stripe_refund_id or "")
    assert again.status == RefundStatus.FAILED
    assert funds_of(account).balance_micros == 75 * MICROS
    assert clearing() == 25 * MICROS
    assert Payment.objects.get().refunded_micros == 0
    assert refundable_cents(Payment.objects.get()) == 25_00
    assert_books(account)


def test_refund_that_takes_its_time_is_set_aside_meanwhile(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    refund = refund_payment(actor, pay(actor, box, PENDING))
    assert refund.status == RefundStatus.PENDING
    assert funds_of(account).balance_micros == 50 * MICROS
    assert balance(account, AccountCode.REFUNDS_PENDING) == -25 * MICROS
    box.server.advance(4000)
    assert settle_refund_id(refund.stripe_refund_id or "").status == RefundStatus.SUCCEEDED
    assert balance(account, AccountCode.REFUNDS_PENDING) == 0
    assert_books(account)


def test_refund_made_at_stripe_takes_the_credit_along(
    account: BillingAccount, actor: Actor, box: Box, paid: Payment
) -> None:
    made = box.server.client.v1.refunds.create(
        {"payment_intent": paid.payment_intent_id or "", "amount": 5_00}
    )
    settle_refund_id(made.id)
    settle_refund_id(made.id)
    assert funds_of(account).balance_micros == 70 * MICROS
    assert Refund.objects.count() == 1
    assert_books(account)


def test_refund_made_at_stripe_of_used_credit_is_owed(
    account: BillingAccount, actor: Actor, box: Box, paid: Payment, metered: Metered
) -> None:
    metered(quantity=10)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=3))
    made = box.server.client.v1.refunds.create({"payment_intent": paid.payment_intent_id or ""})
    settle_refund_id(made.id)
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 13 * MICROS
    assert_books(account)


def test_refunds_of_taxed_credit_made_at_stripe_cent_by_cent_leave_no_debt(
    account: BillingAccount,
) -> None:
    payment = taxed(account, net_cents=1_00, tax_cents=19)
    for number in range(119):
        settle_refund(at_stripe(f"re_{number}", payment, 1))
    payment.refresh_from_db()
    refunds = payment.refunds.all()
    assert sum(refund.net_micros for refund in refunds) == payment.net_micros
    assert sum(refund.tax_micros for refund in refunds) == payment.tax_micros
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert_books(account)


@pytest.mark.parametrize("first", [1, 3, 50, 60, 99, 118])
def test_refunds_of_taxed_credit_asked_for_here_and_made_there_end_at_nothing(
    account: BillingAccount, first: int
) -> None:
    payment = taxed(account, net_cents=1_00, tax_cents=19)
    settle_refund(at_stripe("re_1", payment, first))
    payment.refresh_from_db()
    left = refundable_cents(payment)
    assert from_cents(left) + tax_share(payment, from_cents(left)) == (
        payment.amount_micros - payment.refunded_micros
    )


def test_refund_heard_of_before_the_failure_that_made_room_for_it_waits(
    account: BillingAccount,
) -> None:
    payment = taxed(account, net_cents=1_00, tax_cents=19)
    settle_refund(at_stripe("re_1", payment, 1_19))
    with pytest.raises(Conflict, match="have not heard of it"), transaction.atomic():
        settle_refund(at_stripe("re_2", payment, 1_19))
    settle_refund(replace(at_stripe("re_1", payment, 1_19), status=RefundStatus.FAILED))
    settle_refund(at_stripe("re_2", payment, 1_19))
    payment.refresh_from_db()
    assert payment.refunded_micros == payment.amount_micros
    assert_books(account)


def test_credit_that_comes_back_after_all_was_refunded_does_not_go_back_to_the_card(
    account: BillingAccount, metered: Metered
) -> None:
    payment = taxed(account, net_cents=25_00, tax_cents=0)
    metered(quantity=12)
    hours = START + timedelta(hours=3)
    rate_open_intervals(until=hours)  # $75.60: all there is, and 60 cents more
    settle_refund(at_stripe("re_1", payment, 25_00))
    settle_payment(facts_of(new_payment(account, purpose=PaymentPurpose.TOP_UP, net_cents=30_00)))
    close_interval("workload", 1, 1, ended_at=hours, fault=Fault("node_lost", "A node died"))
    payment.refresh_from_db()
    assert payment.lots.aggregate(total=Sum("remaining_micros"))["total"] > 0
    assert refundable_cents(payment) == 0


def facts_of(payment: Payment) -> PaymentFacts:
    return PaymentFacts(
        reference=payment.public_id,
        status=PaymentStatus.SUCCEEDED,
        amount_cents=to_cents(payment.amount_micros),
        currency="usd",
        intent_id=f"pi_{payment.pk}",
    )


def taxed(account: BillingAccount, *, net_cents: int, tax_cents: int) -> Payment:
    """A payment that Stripe says is paid."""
    payment = new_payment(
        account, purpose=PaymentPurpose.TOP_UP, net_cents=net_cents, tax_cents=tax_cents
    )
    return settle_payment(facts_of(payment))


def at_stripe(key: str, payment: Payment, cents: int) -> RefundFacts:
    return RefundFacts(key, "", payment.payment_intent_id, cents, "usd", RefundStatus.SUCCEEDED, "")


def test_refund_of_somebody_elses_payment_is_not_ours(db: None, box: Box) -> None:
    intent = box.server.client.v1.payment_intents.create(
        {"amount": 5_00, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    made = box.server.client.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(NotFound):
        settle_refund_id(made.id)


def test_lost_answer_is_asked_for_again_and_refunds_once(
    account: BillingAccount, actor: Actor, box: Box, paid: Payment, settings: object
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        refund_payment(actor, paid)
    settings.STRIPE_API_BASE = box.server.url  # type: ignore[attr-defined]
    assert funds_of(account).balance_micros == 50 * MICROS
    later = clock.now() + timedelta(minutes=2)
    with clock.use(lambda: later):
        recover_refunds()
        recover_refunds()
    assert Refund.objects.get().status == RefundStatus.SUCCEEDED
    assert clearing() == 0


def test_refund_that_never_reached_stripe_in_a_day_is_credit_again(
    account: BillingAccount, actor: Actor, box: Box, paid: Payment, settings: object
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        refund_payment(actor, paid)
    settings.STRIPE_API_BASE = box.server.url  # type: ignore[attr-defined]
    later = clock.now() + timedelta(days=1)
    with clock.use(lambda: later):
        recover_refunds()
    assert Refund.objects.get().status == RefundStatus.FAILED
    assert funds_of(account).balance_micros == 75 * MICROS
    assert_books(account)


def test_the_database_refuses_to_refund_more_than_was_paid(paid: Payment) -> None:
    with pytest.raises(IntegrityError):
        Payment.objects.update(refunded_micros=25 * MICROS + 1)


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_refund_no_more_than_there_is(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    paid = pay(actor, box)
    barrier = threading.Barrier(8)
    done: list[str] = []

    def call() -> None:
        try:
            barrier.wait(timeout=30)
            done.append(refund_payment(actor, paid, net_cents=10_00).status)
        except InvalidInput:
            done.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["refused"] * 6 + [RefundStatus.SUCCEEDED] * 2
    assert clearing() == 5 * MICROS
    assert_books(account)


def test_amount_beyond_four_bytes_goes_back(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=4_999_99))
    payment = settle_session(Payment.objects.get().checkout_session_id or "")
    assert funds_of(account).balance_micros == 5_049_990_000
    refund_payment(actor, payment)
    payment.refresh_from_db()
    assert payment.refunded_micros == 4_999_990_000
    assert clearing() == 0
    assert_books(account)
