"""A clock that tests move, and work that is metered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from billing.actions.metering import Resource, open_interval
from billing.models import BillingAccount, Price, UsageInterval
from portal.lib import clock

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
        return open_interval(
            account,
            sku_code=prices.sku.code,
            price=prices,
            resource=Resource("workload", resource_id, attempt, f"job_{resource_id}", "train"),
            quantity=quantity,
            started_at=at,
        )

    return begin
