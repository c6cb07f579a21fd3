"""A clock that tests move, and work that is metered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from accounts.actor import Actor
from billing.actions.cards import settle_card_setup, start_card_setup
from billing.actions.metering import Resource, Start, open_intervals
from billing.models import BillingAccount, CardSetup, PaymentMethod, Price, UsageInterval
from portal.lib import clock
from tests.billing.sandbox.harness import (
    GOOD_CARD,
    SECRET_KEY,
    WEBHOOK_SECRET,
    Receiver,
    Server,
    until,
)

pytest.register_assert_rewrite("tests.billing.books", "tests.billing.machine")
START = datetime(2026, 5, 4, 10, tzinfo=UTC)


class Hands:
    """The clock's hands."""

    def __init__(self) -> None:
        self.now = START

    def forward(self, **span: float) -> datetime:
        """Move on and say what time it is."""
        self.now += timedelta(**span)
        return self.now


@pytest.fixture
def hands() -> Iterator[Hands]:
    """Time stands at START until a test moves it."""
    hands = Hands()
    with clock.use(lambda: hands.now):
        yield hands


Metered = Callable[..., UsageInterval]


@pytest.fixture
def metered(account: BillingAccount, prices: Price) -> Metered:
    """Open an interval of a resource, one GPU from START unless said otherwise."""

    def begin(
        resource_id: int = 1, attempt: int = 1, quantity: int = 1, at: datetime = START
    ) -> UsageInterval:
        start = Start(
            account,
            sku_code=prices.sku.code,
            price=prices,
            resource=Resource("workload", resource_id, attempt, f"job_{resource_id}", "train"),
            quantity=quantity,
            started_at=at,
        )
        return open_intervals([start])[0]

    return begin


@dataclass
class Box:
    """The Stripe sandbox as a process of its own, and what it sent to its webhook."""

    server: Server
    receiver: Receiver

    def pay(self, url: str, **typed: str) -> httpx.Response:
        """Type a card into the page at `url`; a good one unless said otherwise."""
        return httpx.post(url, data=GOOD_CARD | typed)

    def save_card(self, actor: Actor, number: str = "4242 4242 4242 4242") -> PaymentMethod:
        """Save a card for the actor's team through Stripe's page, as its owner would."""
        page = self.pay(start_card_setup(actor), number=number)
        if "auth/" in page.headers.get("location", ""):
            self.answer(page.headers["location"])
        setup = CardSetup.objects.latest("pk")
        card = settle_card_setup(setup.checkout_session_id or "").card
        assert card is not None
        return card

    def answer(self, url: str, answer: str = "complete") -> httpx.Response:
        """Answer the bank's question at `url`, absolute or relative to /c/pay/."""
        return httpx.post(urljoin(f"{self.server.url}/c/pay/x", url), data={"answer": answer})

    def dial(self, **rule: str) -> None:
        """Let something go wrong, see `billing.sandbox.faults`."""
        assert self.server.post("/_sandbox/faults", rule).status_code == 200

    def delivery(self, kind: str) -> tuple[bytes, str]:
        """The raw body and signature of the newest event of `kind`, once it has come."""
        until(lambda: kind in self.receiver.types(), f"{kind} was delivered")
        found = [
            got
            for got, event in zip(self.receiver.got, self.receiver.events(), strict=True)
            if event.type == kind
        ]
        return found[-1]


@pytest.fixture(scope="module")
def box_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One sandbox for a module."""
    receiver = Receiver()
    server = Server(tmp_path_factory.mktemp("stripe"), receiver.url)
    yield Box(server, receiver)
    server.stop()
    receiver.close()


@pytest.fixture
def box(box_process: Box, settings: Any) -> Box:
    """The sandbox, with the settings pointing at it."""
    settings.STRIPE_API_BASE = box_process.server.url
    settings.STRIPE_SECRET_KEY = SECRET_KEY
    settings.STRIPE_WEBHOOK_SECRET = WEBHOOK_SECRET
    box_process.receiver.got.clear()
    return box_process
