"""A lost answer is asked for again: one charge, one credit, whatever died when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.actor import Actor
from billing.actions.auto_top_up import request, set_rule
from billing.actions.payments import settle_intent, settle_session
from billing.actions.recovery import recover_card_setups, recover_payments, recover_refunds
from billing.actions.refunds import refund_payment
from billing.actions.topups import start_top_up
from billing.choices import PaymentStatus, RefundStatus, SetupStatus
from billing.models import BillingAccount, CardSetup, Payment, Refund
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.errors import Unavailable
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import Box
from tests.ports import free_port

# How often it has to go wrong: the client tries three times where it was given an answer.
TRIES = {"drop_response": "1", "error_after": "3", "error_before": "3"}


def charges(box: Box) -> int:
    return sum(
        intent.status == "succeeded"
        for intent in box.server.client.v1.payment_intents.list({"limit": 100}).auto_paging_iter()
        if Payment.objects.filter(public_id=intent.to_dict()["metadata"].get("payment")).exists()
    )


def after(**span: float) -> Any:
    later = clock.now() + timedelta(**span)
    return clock.use(lambda: later)


@pytest.fixture
def short(actor: Actor, box: Box) -> None:
    box.save_card(actor)
    set_rule(actor, threshold_cents=60_00, amount_cents=40_00, monthly_maximum_cents=100_00)


def test_charge_that_never_left_is_sent_again(
    account: BillingAccount, actor: Actor, box: Box, short: None, settings: Any
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable):
        request(account.pk)
    settings.STRIPE_API_BASE = box.server.url
    with after(minutes=2):
        assert recover_payments() == 1
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED
    assert funds_of(account).balance_micros == 90 * MICROS
    assert charges(box) == 1


@pytest.mark.parametrize("what", TRIES)
def test_charge_whose_answer_was_lost_is_credited_once(
    account: BillingAccount, box: Box, short: None, what: str
) -> None:
    box.dial(what=what, method="POST", path="/v1/payment_intents", count=TRIES[what])
    with pytest.raises(Unavailable):
        request(account.pk)
    with after(minutes=2):
        recover_payments()
        assert request(account.pk) is None
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED
    assert charges(box) == 1
    assert funds_of(account).balance_micros == 90 * MICROS


def test_charge_made_while_our_clock_was_ahead_is_found(
    account: BillingAccount, box: Box, short: None
) -> None:
    box.dial(what="error_after", method="POST", path="/v1/payment_intents", count="3")
    with after(minutes=55), pytest.raises(Unavailable):
        request(account.pk)
    with after(minutes=57):
        recover_payments()
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED
    assert charges(box) == 1


@pytest.mark.parametrize("what", TRIES)
def test_refund_whose_answer_was_lost_is_made_once(
    account: BillingAccount, actor: Actor, box: Box, what: str
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    payment = settle_session(Payment.objects.get().checkout_session_id or "")
    box.dial(what=what, method="POST", path="/v1/refunds", count=TRIES[what])
    with pytest.raises(Unavailable):
        refund_payment(actor, payment)
    with after(minutes=2):
        recover_refunds()
    assert Refund.objects.get().status == RefundStatus.SUCCEEDED
    made = box.server.client.v1.refunds.list({"payment_intent": payment.payment_intent_id or ""})
    assert len(made.data) == 1
    assert funds_of(account).balance_micros == 50 * MICROS


def test_payment_younger_than_a_call_is_left_alone(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    start_top_up(actor, amount_cents=25_00)
    assert recover_payments() == 0


def test_page_that_was_paid_and_never_heard_of_is_credited(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    with after(minutes=2):
        recover_payments()
        recover_payments()
    assert funds_of(account).balance_micros == 75 * MICROS
    assert_books(account)


def test_page_whose_address_was_lost_is_found_by_its_key(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    Payment.objects.update(checkout_session_id=None, status=PaymentStatus.DRAFT)
    with after(minutes=2):
        recover_payments()
    assert Payment.objects.get().status == PaymentStatus.SUCCEEDED


def test_page_that_stays_open_is_looked_at_less_and_less(actor: Actor, box: Box) -> None:
    start_top_up(actor, amount_cents=25_00)
    with after(minutes=2):
        assert recover_payments() == 1
    with after(minutes=2, seconds=20):
        assert recover_payments() == 0
    with after(minutes=3):
        assert recover_payments() == 1


def test_charge_older_than_its_key_is_looked_up_and_never_sent(
    account: BillingAccount, actor: Actor, box: Box, short: None, settings: Any
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable):
        request(account.pk)
    settings.STRIPE_API_BASE = box.server.url
    with after(hours=30):
        recover_payments()
    payment = Payment.objects.get()
    assert (payment.status, payment.failure_code) == (PaymentStatus.FAILED, "never_sent")
    assert charges(box) == 0


def test_money_that_comes_after_we_gave_up_is_credited(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.pay(start_top_up(actor, amount_cents=25_00))
    Payment.objects.update(status=PaymentStatus.FAILED)
    session = box.server.client.v1.checkout.sessions.retrieve(
        Payment.objects.get().checkout_session_id or ""
    )
    assert isinstance(session.payment_intent, str)
    assert settle_intent(session.payment_intent).status == PaymentStatus.SUCCEEDED
    assert funds_of(account).balance_micros == 75 * MICROS


def test_owner_who_never_answers_is_not_waited_for_longer_than_a_day(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    box.save_card(actor, "4000 0027 6000 3184")
    set_rule(actor, threshold_cents=60_00, amount_cents=40_00, monthly_maximum_cents=100_00)
    request(account.pk)
    with after(hours=2):
        recover_payments()
    assert Payment.objects.get().status == PaymentStatus.REQUIRES_ACTION
    with after(hours=24):
        recover_payments()
    assert Payment.objects.get().status == PaymentStatus.CANCELED


def test_card_whose_owner_never_came_back_is_kept(actor: Actor, box: Box) -> None:
    box.save_card(actor)
    CardSetup.objects.update(status=SetupStatus.SUBMITTED, card=None)
    with after(hours=2):
        assert recover_card_setups() == 1
    assert CardSetup.objects.get().status == SetupStatus.DONE
