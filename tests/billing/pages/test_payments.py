"""/billing/payments/: what was paid, what waits, what goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.auto_top_up import request, set_rule
from billing.actions.payments import settle_session
from billing.actions.topups import start_top_up
from billing.choices import PaymentStatus
from billing.models import BillingAccount, Payment, Refund
from billing.queries.funds import funds_of
from portal.lib.money import MICROS
from tests.billing.conftest import Box

ClientOf = Callable[[User], Client]
URL = "/billing/payments/"


def text(answer: Any) -> str:
    return str(answer.content.decode())


@pytest.fixture
def paid(actor: Actor, box: Box) -> Payment:
    box.pay(start_top_up(actor, amount_cents=25_00))
    return settle_session(Payment.objects.get().checkout_session_id or "")


def test_empty_list_leads_to_the_first_payment(
    alice: User, team: Team, client_of: ClientOf
) -> None:
    page = text(client_of(alice).get(URL))
    assert "No payment yet" in page
    assert "/billing/top-up/" in page


def test_list_names_each_payment_with_its_state(
    alice: User, paid: Payment, client_of: ClientOf
) -> None:
    page = text(client_of(alice).get(URL))
    assert paid.public_id in page
    assert "Paid" in page


def test_payment_of_another_team_is_not_found(
    charlie: User, paid: Payment, client_of: ClientOf
) -> None:
    assert client_of(charlie).get(f"{URL}{paid.public_id}/").status_code == 404


def test_owner_refunds_a_part(
    alice: User, account: BillingAccount, paid: Payment, client_of: ClientOf
) -> None:
    client = client_of(alice)
    page = text(
        client.post(
            f"{URL}{paid.public_id}/refund/", {"amount": "10", "reason": "Too much"}, follow=True
        )
    )
    assert "Refunded" in page
    assert "Too much" in page
    assert funds_of(account).balance_micros == 65 * MICROS


@pytest.mark.parametrize("amount", ["", "0", "-1", "25.01", "NaN", "9e18", "1.005"])
def test_refund_that_cannot_be_is_refused_at_the_field(
    alice: User, paid: Payment, client_of: ClientOf, amount: str
) -> None:
    answer = client_of(alice).post(f"{URL}{paid.public_id}/refund/", {"amount": amount})
    assert answer.status_code == 400
    assert "#id_amount" in text(answer)
    assert not Refund.objects.exists()


def test_member_may_not_refund(bob: User, paid: Payment, client_of: ClientOf) -> None:
    client = client_of(bob)
    assert client.post(f"{URL}{paid.public_id}/refund/", {"amount": "1"}).status_code == 403
    assert "Refund unused credit" not in text(client.get(f"{URL}{paid.public_id}/"))


def test_owner_answers_the_bank_and_comes_back_to_the_credit(
    alice: User, actor: Actor, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    box.save_card(actor, "4000 0027 6000 3184")
    set_rule(actor, threshold_cents=60_00, amount_cents=40_00, monthly_maximum_cents=100_00)
    payment = request(account.pk)
    assert payment is not None
    client = client_of(alice)
    assert "Confirm at the bank" in text(client.get(f"{URL}{payment.public_id}/"))
    away = client.post(f"{URL}{payment.public_id}/confirm/")
    assert away.status_code == 303
    back = urlsplit(box.answer(away.headers["Location"]).headers["Location"])
    assert "Paid" in text(client.get(f"{back.path}?{back.query}"))
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.SUCCEEDED


def test_payment_that_waits_for_nobody_cannot_be_confirmed(
    alice: User, paid: Payment, client_of: ClientOf
) -> None:
    page = text(client_of(alice).post(f"{URL}{paid.public_id}/confirm/", follow=True))
    assert "does not wait for you" in page
