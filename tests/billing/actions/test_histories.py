"""Any history of ticks, ends and faults leaves the books as one bill at the end would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.actions.faults import Fault
from billing.actions.metering import close_interval, rate_open_intervals
from billing.choices import AccountCode, LotKind
from billing.models import BillingAccount, CreditLot, RatedUsage, UsageCredit, UsageInterval
from portal.lib.money import MICROS, cost_micros
from tests.billing.actions.lots import add_lot
from tests.billing.books import assert_books, balance
from tests.billing.conftest import Hands, Metered

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
PRICE = 2_100_000
BOUGHT = 10 * MICROS
GIVEN = 50 * MICROS
LOST = Fault("node_lost", "It was lost")
moments = st.integers(-7_200_000_000, 7_200_000_000).map(
    lambda us: JUNE + timedelta(microseconds=us)
)


@dataclass(frozen=True)
class Run:
    """One interval, how it really went, and when that was heard."""

    quantity: int
    start: datetime
    end: datetime
    heard: datetime
    is_ours: bool

    @property
    def owed(self) -> int:
        used = (max(self.start, self.end) - self.start) // timedelta(microseconds=1)
        return cost_micros(PRICE, self.quantity, used)


runs = st.builds(Run, st.integers(1, 12), moments, moments, moments, st.booleans())


def play(
    hands: Hands,
    metered: Metered,
    account: BillingAccount,
    ran: list[Run],
    ticks: list[datetime],
    *,
    closes: bool,
) -> None:
    """Let it happen in the order of the clock."""
    steps: list[tuple[datetime, int, int]] = [(at, 2, 0) for at in ticks]
    for number, run in enumerate(ran):
        steps += [(run.start, 0, number), (max(run.heard, run.start), 1, number)]
    if closes:
        steps.append((JUNE + timedelta(minutes=30), 3, 0))
    for at, kind, number in sorted(steps):
        hands.now = at
        if kind == 0:
            metered(number, quantity=ran[number].quantity, at=at)
        elif kind == 1:
            fault = LOST if ran[number].is_ours else None
            close_interval("workload", number, 1, ended_at=ran[number].end, fault=fault)
        elif kind == 2:
            rate_open_intervals(until=at)
        else:
            rate_open_intervals(until=JUNE)
            BillingAccount.objects.filter(pk=account.pk).update(closed_until=JUNE)
        assert_books(account)


@given(
    ran=st.lists(runs, min_size=1, max_size=3),
    ticks=st.lists(moments, max_size=5),
    closes=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_history_ends_as_one_bill_would(
    account: BillingAccount,
    metered: Metered,
    hands: Hands,
    ran: list[Run],
    ticks: list[datetime],
    closes: bool,
) -> None:
    point = transaction.savepoint()
    try:
        bought = add_lot(account, LotKind.PURCHASED, BOUGHT)
        play(hands, metered, account, ran, ticks, closes=closes)
        billed = {one.resource_id: one.billed_micros for one in UsageInterval.objects.all()}
        assert billed == {number: run.owed for number, run in enumerate(ran)}
        spent = sum(run.owed for run in ran if not run.is_ours)
        left = {lot.pk: lot.remaining_micros for lot in CreditLot.objects.filter(account=account)}
        assert left[bought.pk] == max(0, BOUGHT - max(0, spent - GIVEN))
        assert sum(left.values()) == max(0, BOUGHT + GIVEN - spent)
        debt = max(0, spent - GIVEN - BOUGHT)
        assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == debt
        assert sum(RatedUsage.objects.values_list("debt_micros", flat=True)) == debt
        assert UsageCredit.objects.count() == sum(run.is_ours for run in ran)
    finally:
        transaction.savepoint_rollback(point)
