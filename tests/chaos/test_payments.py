"""SIGKILL at every step around a call to Stripe: one charge, one credit, one refund."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.access import actor_of_user
from accounts.actions.teams import create_team
from accounts.models import User
from billing.actions.accounts import ensure_account
from billing.actions.auto_top_up import request
from billing.actions.customers import ensure_customer
from billing.actions.payments import settle_session
from billing.actions.recovery import recover_payments, recover_refunds
from billing.actions.topups import start_top_up
from billing.choices import PaymentStatus, RefundStatus
from billing.models import AutoTopUp, BillingAccount, Payment, PaymentMethod, Price, Refund
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.billing.sandbox.harness import GOOD_CARD, SECRET_KEY, Server
from tests.chaos.forking import forking, life_in
from tests.chaos.payments import Order
from tests.conftest import make_person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Stripe, with what has happened there so far."""
    found = Server(tmp_path_factory.mktemp("stripe"))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def zygote(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """What forks the processes that die, and their folder."""
    root = tmp_path_factory.mktemp("deaths")
    with forking("tests.chaos.payments", root) as process:
        yield root, process


@dataclass
class World:
    """A team of its own for each life."""

    server: Server
    root: Path
    zygote: subprocess.Popen[str]
    made: int = 0

    def account(self) -> tuple[User, BillingAccount]:
        """A team without credit whose customer is known at Stripe."""
        self.made += 1
        user = make_person(f"payer{self.made}@example.org")
        account = ensure_account(create_team(owner=user, name=f"Team {self.made}"))
        ensure_customer(account)
        return user, account

    def live(self, deed: str, user: User, account: int, payment: int, die_at: int) -> str | None:
        """Whether and where the process died."""
        order = Order(deed, user.pk, account, payment, self.server.url, str(self.root), die_at)
        if life_in(self.zygote, order.to_json()):
            return None
        return order.trace.read_text().split("\n")[-1]

    def pay(self, user: User) -> Payment:
        """A top-up that is paid at Stripe and that we have not heard of yet."""
        httpx.post(start_top_up(actor_of_user(user), amount_cents=25_00), data=GOOD_CARD)
        return Payment.objects.latest("pk")


@pytest.fixture
def world(
    server: Server,
    zygote: tuple[Path, subprocess.Popen[str]],
    prices: Price,
    settings: Any,
) -> World:
    settings.STRIPE_API_BASE = server.url
    settings.STRIPE_SECRET_KEY = SECRET_KEY
    return World(server, *zygote)


def two_minutes_later() -> AbstractContextManager[None]:
    """When nobody thinks any more that the call is still on its way."""
    later = clock.now() + timedelta(minutes=2)
    return clock.use(lambda: later)


def charged(world: World, account: BillingAccount) -> int:
    listed = world.server.client.v1.payment_intents.list(
        {"customer": account.stripe_customer_id or "", "limit": 100}
    )
    return sum(intent.status == "succeeded" for intent in listed.data)


def with_card(world: World) -> tuple[User, BillingAccount]:
    user, account = world.account()
    saved = world.server.client.v1.setup_intents.create(
        {
            "customer": account.stripe_customer_id or "",
            "payment_method": "pm_card_visa",
            "confirm": True,
        }
    )
    PaymentMethod.objects.create(
        account=account, stripe_id=str(saved.payment_method), brand="visa", last4="4242",
        exp_month=1, exp_year=2040, is_default=True,
    )  # fmt: skip
    AutoTopUp.objects.create(
        account=account, threshold_micros=10 * MICROS, amount_micros=40 * MICROS,
        monthly_maximum_micros=100 * MICROS,
    )  # fmt: skip
    return user, account


def test_death_at_every_step_of_a_charge(world: World) -> None:
    died = 0
    while True:
        user, account = with_card(world)
        where = world.live("charge", user, account.pk, 0, died + 1)
        with two_minutes_later():
            recover_payments()
            request(account.pk)
        assert charged(world, account) == 1, where
        assert funds_of(account).balance_micros == 40 * MICROS, where
        assert_books(account)
        if where is None:
            break
        died += 1
    assert died > 15


def test_death_at_every_step_of_settling(world: World) -> None:
    died = 0
    while True:
        user, account = world.account()
        payment = world.pay(user)
        where = world.live("settle", user, account.pk, payment.pk, died + 1)
        settle_session(payment.checkout_session_id or "")
        assert Payment.objects.get(pk=payment.pk).status == PaymentStatus.SUCCEEDED, where
        assert funds_of(account).balance_micros == 25 * MICROS, where
        assert_books(account)
        if where is None:
            break
        died += 1
    assert died > 8


def test_death_at_every_step_of_a_refund(world: World) -> None:
    died = 0
    while True:
        user, account = world.account()
        payment = world.pay(user)
        settle_session(payment.checkout_session_id or "")
        where = world.live("refund", user, account.pk, payment.pk, died + 1)
        with two_minutes_later():
            recover_refunds()
        intent = Payment.objects.get(pk=payment.pk).payment_intent_id or ""
        sent = world.server.client.v1.refunds.list({"payment_intent": intent}).data
        ours = list(Refund.objects.filter(payment=payment).values_list("status", flat=True))
        # Before the intent was committed nobody has asked for anything.
        assert ours == [RefundStatus.SUCCEEDED] * len(sent), where
        assert funds_of(account).balance_micros == (0 if sent else 25 * MICROS), where
        assert_books(account)
        if where is None:
            break
        died += 1
    assert died > 15
    assert ours
