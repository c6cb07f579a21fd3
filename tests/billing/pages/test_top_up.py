"""/billing/top-up/"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Team, User
from billing.choices import PaymentStatus
from billing.models import BillingAccount, Payment
from billing.queries.funds import funds_of
from portal.lib.money import MICROS
from tests.billing.conftest import Box
from tests.ports import free_port

ClientOf = Callable[[User], Client]
URL = "/billing/top-up/"


def test_form_offers_amounts(alice: User, team: Team, client_of: ClientOf) -> None:
    page = client_of(alice).get(f"{URL}?amount=50").content.decode()
    assert 'value="50"' in page
    assert "4242 4242 4242 4242" in page


@pytest.mark.parametrize("asked", ["", "x", "-1", "1e99", "NaN", "999999", "\0"])
def test_odd_preset_falls_back(alice: User, team: Team, client_of: ClientOf, asked: str) -> None:
    assert 'value="25"' in client_of(alice).get(URL, {"amount": asked}).content.decode()


def test_post_leads_to_the_payment_page_and_back(
    alice: User, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    client = client_of(alice)
    away = client.post(URL, {"amount": "25.00"})
    assert away.status_code == 303
    back = box.pay(away.headers["Location"])
    assert back.status_code == 303
    path = back.headers["Location"].partition("://")[2].partition("/")[2]
    page = client.get(f"/{path}").content.decode()
    assert "$25.00 added" in page
    assert funds_of(account).balance_micros == 75 * MICROS


def test_return_without_paying_waits(
    alice: User, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    client = client_of(alice)
    client.post(URL, {"amount": "25.00"})
    page = client.get(f"{URL}return/", {"payment": Payment.objects.get().public_id})
    assert "Waiting for the payment" in page.content.decode()
    assert funds_of(account).balance_micros == 50 * MICROS


@pytest.mark.parametrize(
    "amount", ["", "4.99", "5000.01", "-25", "0", "25.001", "NaN", "1e3000", "25\0", "twenty"]
)
def test_bad_amount_is_said_at_the_field(
    alice: User, team: Team, client_of: ClientOf, amount: str
) -> None:
    answer = client_of(alice).post(URL, {"amount": amount})
    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not Payment.objects.exists()


def test_silent_stripe_is_said_on_the_form(
    alice: User, team: Team, client_of: ClientOf, settings: Any
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    answer = client_of(alice).post(URL, {"amount": "25"})
    assert answer.status_code == 503
    assert "does not answer" in answer.content.decode()


def test_return_of_another_teams_payment_is_not_found(
    alice: User, charlie: User, account: BillingAccount, client_of: ClientOf
) -> None:
    payment = Payment.objects.create(
        account=account,
        amount_micros=MICROS,
        net_micros=MICROS,
        currency="usd",
        idempotency_key="k",
        status=PaymentStatus.SUBMITTED,
    )
    answer = client_of(charlie).get(f"{URL}return/", {"payment": payment.public_id})
    assert answer.status_code == 404


@pytest.mark.parametrize("payment", ["", "pay_none", "\0"])
def test_return_of_nothing_is_not_found(
    alice: User, team: Team, client_of: ClientOf, payment: str
) -> None:
    assert client_of(alice).get(f"{URL}return/", {"payment": payment}).status_code == 404
