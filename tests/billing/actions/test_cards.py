"""Cards are saved on Stripe's page and kept as what Stripe shows of them."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.auto_top_up import set_rule
from billing.actions.cards import (
    refresh_card,
    remove_card,
    set_default_card,
    settle_card_setup,
    start_card_setup,
)
from billing.actions.customers import ensure_customer
from billing.choices import CardStatus, SetupStatus
from billing.models import BillingAccount, CardSetup, PaymentMethod
from portal.lib.errors import Conflict, NotAllowed, NotFound
from tests.billing.conftest import Box


def test_card_typed_at_stripe_is_saved_and_charged_by_default(
    account: BillingAccount, actor: Actor, box: Box
) -> None:
    card = box.save_card(actor)
    assert (card.account, card.brand, card.last4) == (account, "visa", "4242")
    assert card.is_default
    assert CardSetup.objects.get().status == SetupStatus.DONE


def test_card_whose_bank_asks_is_saved_after_the_answer(actor: Actor, box: Box) -> None:
    assert box.save_card(actor, "4000 0025 0000 3155").last4 == "3155"


def test_page_that_nobody_finished_saves_nothing(actor: Actor, box: Box) -> None:
    start_card_setup(actor)
    setup = CardSetup.objects.get()
    assert settle_card_setup(setup.checkout_session_id or "").status == SetupStatus.SUBMITTED
    assert not PaymentMethod.objects.exists()


def test_refused_card_is_not_saved(actor: Actor, box: Box) -> None:
    assert box.pay(start_card_setup(actor), number="4000 0000 0000 0002").status_code == 402
    setup = CardSetup.objects.get()
    settle_card_setup(setup.checkout_session_id or "")
    assert not PaymentMethod.objects.exists()


def test_settling_twice_saves_one_card(actor: Actor, box: Box) -> None:
    box.save_card(actor)
    settle_card_setup(CardSetup.objects.get().checkout_session_id or "")
    assert PaymentMethod.objects.count() == 1


def test_page_of_somebody_else_is_not_ours(db: None, box: Box) -> None:
    with pytest.raises(NotFound):
        settle_card_setup(box.server.session().id)


def test_second_card_is_spare_until_it_is_chosen(actor: Actor, box: Box) -> None:
    first, second = box.save_card(actor), box.save_card(actor, "5555 5555 5555 4444")
    assert not second.is_default
    set_default_card(actor, second.public_id)
    first.refresh_from_db()
    assert not first.is_default
    assert PaymentMethod.objects.get(is_default=True) == second


def test_removed_card_is_detached_at_stripe(actor: Actor, box: Box) -> None:
    card = box.save_card(actor)
    remove_card(actor, card.public_id)
    card.refresh_from_db()
    assert (card.status, card.is_default) == (CardStatus.REMOVED, False)
    assert box.server.client.v1.payment_methods.retrieve(card.stripe_id).customer is None


def test_card_that_automatic_top_up_charges_stays(actor: Actor, box: Box) -> None:
    card = box.save_card(actor)
    set_rule(actor, threshold_cents=10_00, amount_cents=50_00, monthly_maximum_cents=100_00)
    with pytest.raises(Conflict):
        remove_card(actor, card.public_id)
    card.refresh_from_db()
    assert card.status == CardStatus.ACTIVE


def test_card_that_was_detached_elsewhere_is_dropped(actor: Actor, box: Box) -> None:
    card = box.save_card(actor)
    box.server.client.v1.payment_methods.detach(card.stripe_id)
    refresh_card(card.stripe_id)
    card.refresh_from_db()
    assert card.status == CardStatus.REMOVED


def test_member_may_not_touch_cards(bob: User, actor: Actor, box: Box) -> None:
    card = box.save_card(actor)
    member = actor_of_user(bob)
    for deed in (
        lambda: start_card_setup(member),
        lambda: set_default_card(member, card.public_id),
        lambda: remove_card(member, card.public_id),
    ):
        with pytest.raises(NotAllowed):
            deed()


def test_card_of_another_team_is_not_found(charlie: User, actor: Actor, box: Box) -> None:
    card = box.save_card(actor)
    with pytest.raises(NotFound):
        set_default_card(actor_of_user(charlie), card.public_id)


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_make_one_customer(account: BillingAccount, box: Box) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def call() -> None:
        try:
            mine = BillingAccount.objects.get(pk=account.pk)
            barrier.wait(timeout=30)
            found.append(ensure_customer(mine))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
