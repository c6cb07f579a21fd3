"""Automatic top-up: one in flight, at most one an hour, never above the month's maximum (I18)."""

from __future__ import annotations

import threading

import pytest
from django.core import mail
from django.db import IntegrityError, connections

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.auto_pause import tell_pauses
from billing.actions.auto_top_up import request, run_due, set_rule, turn_off
from billing.actions.confirming import confirm_payment
from billing.actions.payments import new_payment, settle_intent
from billing.choices import PauseReason, PaymentPurpose, PaymentStatus
from billing.models import AutoTopUp, BillingAccount, Payment
from billing.queries.funds import funds_of
from portal.lib.errors import InvalidInput, NotAllowed, Unavailable
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.conftest import Box, Hands, Metered
from tests.ports import free_port

GOOD = "4242 4242 4242 4242"
DECLINES_LATER = "4000 0000 0000 0341"
ALWAYS_ASKS = "4000 0027 6000 3184"


def rule(
    actor: Actor, *, threshold: int = 60_00, amount: int = 40_00, maximum: int = 100_00
) -> AutoTopUp:
    return set_rule(
        actor, threshold_cents=threshold, amount_cents=amount, monthly_maximum_cents=maximum
    )


def pause_of(account: BillingAccount) -> str:
    return AutoTopUp.objects.get(account=account).pause_reason


def test_short_account_is_topped_up(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor)
    rule(actor)
    payment = request(account.pk)
    assert payment is not None
    assert payment.status == PaymentStatus.SUCCEEDED
    assert payment.purpose == PaymentPurpose.AUTO_TOP_UP
    assert funds_of(account).balance_micros == 90 * MICROS
    assert_books(account)


def test_account_with_enough_is_left_alone(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor)
    rule(actor, threshold=50_00)
    assert request(account.pk) is None
    assert not Payment.objects.exists()


def test_one_charge_covers_the_whole_gap(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor)
    rule(actor, threshold=100_00, amount=5_00)
    payment = request(account.pk)
    assert payment is not None
    assert payment.net_micros == 50 * MICROS
    assert funds_of(account).available_micros == 100 * MICROS


def test_second_within_the_hour_waits(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands, metered: Metered
) -> None:
    box.save_card(actor)
    rule(actor, maximum=10_000_00)
    assert request(account.pk)
    metered(quantity=10)
    hands.forward(minutes=59)
    metered(resource_id=2, quantity=90)
    assert request(account.pk) is None
    hands.forward(minutes=1, seconds=1)
    assert request(account.pk)
    assert Payment.objects.count() == 2


def test_monthly_maximum_pauses_until_the_next_month(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands, metered: Metered
) -> None:
    box.save_card(actor)
    rule(actor, threshold=95_00, amount=60_00, maximum=100_00)
    assert request(account.pk)
    metered(quantity=10)
    hands.forward(hours=2)
    assert request(account.pk) is None
    assert pause_of(account) == PauseReason.MONTHLY_MAXIMUM
    hands.forward(days=31)
    AutoTopUp.objects.update(monthly_maximum_micros=100_000 * MICROS)
    assert run_due() == 1
    assert pause_of(account) == ""


def test_no_card_pauses_and_a_new_card_resumes(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    card = box.save_card(actor)
    rule(actor)
    account.cards.update(is_default=False, status="removed")
    assert request(account.pk) is None
    assert pause_of(account) == PauseReason.NO_CARD
    box.save_card(actor, "5555 5555 5555 4444")
    assert pause_of(account) == ""
    assert card


def test_declined_charge_pauses_and_credits_nothing(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, DECLINES_LATER)
    rule(actor)
    payment = request(account.pk)
    assert payment is not None
    assert (payment.status, payment.failure_code) == (PaymentStatus.FAILED, "generic_decline")
    assert pause_of(account) == PauseReason.DECLINED
    assert run_due() == 0
    assert funds_of(account).balance_micros == 50 * MICROS


def test_charge_that_stripe_refuses_outright_counts_as_a_failure(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    card = box.save_card(actor)
    rule(actor)
    box.server.client.v1.payment_methods.detach(card.stripe_id)
    payment = request(account.pk)
    assert payment is not None
    assert payment.status == PaymentStatus.FAILED
    assert payment.payment_intent_id is None
    assert pause_of(account) == PauseReason.DECLINED


def test_bank_that_wants_the_owner_pauses_and_their_answer_resumes(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, ALWAYS_ASKS)
    rule(actor)
    payment = request(account.pk)
    assert payment is not None
    assert payment.status == PaymentStatus.REQUIRES_ACTION
    assert pause_of(account) == PauseReason.AUTHENTICATION
    hands.forward(hours=2)
    assert request(account.pk) is None
    url = confirm_payment(actor, payment, return_url="http://127.0.0.1:9/back")
    assert url is not None
    answered = box.answer(url)
    assert "redirect_status=succeeded" in answered.headers["location"]
    settle_intent(payment.payment_intent_id or "")
    assert pause_of(account) == ""
    assert funds_of(account).balance_micros == 90 * MICROS


def test_owners_are_told_of_a_pause_once(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, DECLINES_LATER)
    rule(actor)
    request(account.pk)
    assert (tell_pauses(), tell_pauses()) == (1, 0)
    (message,) = mail.outbox
    assert message.subject == "Alice's team: automatic top-up has paused"
    assert message.to == ["alice@example.org"]
    assert "The card was declined" in message.body
    assert "Choose or add another card" in message.body


def test_next_pause_is_told_again(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, DECLINES_LATER)
    for _ in range(2):
        rule(actor)
        request(account.pk)
        tell_pauses()
        hands.forward(hours=2)
    assert len(mail.outbox) == 2


def test_pause_that_is_over_is_not_told(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, DECLINES_LATER)
    rule(actor)
    request(account.pk)
    turn_off(actor)
    assert tell_pauses() == 0


def test_bank_that_is_told_no_fails_the_payment(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor, ALWAYS_ASKS)
    rule(actor)
    payment = request(account.pk)
    assert payment is not None
    url = confirm_payment(actor, payment, return_url="http://127.0.0.1:9/back")
    box.answer(url or "", "fail")
    assert settle_intent(payment.payment_intent_id or "").status == PaymentStatus.FAILED
    assert funds_of(account).balance_micros == 50 * MICROS


def test_silent_stripe_leaves_the_payment_in_flight_and_nothing_is_charged_beside_it(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands, settings: object
) -> None:
    box.save_card(actor)
    rule(actor)
    good, settings.STRIPE_API_BASE = box.server.url, f"http://127.0.0.1:{free_port()}"  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        request(account.pk)
    settings.STRIPE_API_BASE = good  # type: ignore[attr-defined]
    assert Payment.objects.get().status == PaymentStatus.DRAFT
    hands.forward(hours=2)
    assert request(account.pk) is None


def test_the_database_holds_one_in_flight(account: BillingAccount) -> None:
    new_payment(account, purpose=PaymentPurpose.AUTO_TOP_UP, net_cents=5_00)
    with pytest.raises(IntegrityError):
        new_payment(account, purpose=PaymentPurpose.AUTO_TOP_UP, net_cents=5_00)


@pytest.mark.django_db(transaction=True)
def test_sixteen_at_once_charge_once(account: BillingAccount, actor: Actor, box: Box) -> None:
    box.save_card(actor)
    rule(actor)
    barrier = threading.Barrier(16)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            barrier.wait(timeout=30)
            request(account.pk)
        except BaseException as error:  # shown by the assertion below
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Payment.objects.count() == 1
    assert funds_of(account).balance_micros == 90 * MICROS


@pytest.mark.parametrize(
    ("field", "amounts"),
    [
        ("amount", {"amount": 4_99}),
        ("amount", {"amount": 5_000_01, "maximum": 9_000_00}),
        ("amount", {"amount": -1}),
        ("threshold", {"threshold": -1}),
        ("threshold", {"threshold": 9 * 10**18}),
        ("monthly_maximum", {"maximum": 39_99}),
        ("monthly_maximum", {"maximum": 9 * 10**18}),
    ],
)
def test_amounts_that_cannot_be_are_refused(
    actor: Actor, box: Box, field: str, amounts: dict[str, int]
) -> None:
    box.save_card(actor)
    with pytest.raises(InvalidInput) as refusal:
        rule(actor, **amounts)
    assert field in refusal.value.fields
    assert not AutoTopUp.objects.exists()


def test_rule_without_a_card_is_refused(actor: Actor) -> None:
    with pytest.raises(InvalidInput):
        rule(actor)


def test_member_may_not_change_the_rule(bob: User, actor: Actor, box: Box) -> None:
    box.save_card(actor)
    with pytest.raises(NotAllowed):
        rule(actor_of_user(bob))


def test_rule_that_is_off_charges_nothing(
    account: BillingAccount, actor: Actor, box: Box, hands: Hands
) -> None:
    box.save_card(actor)
    rule(actor)
    turn_off(actor)
    hands.forward(days=1)
    assert request(account.pk) is None
