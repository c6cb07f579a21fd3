"""How busy GPUs were gets onto the invoice, and only as far as it was measured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import User
from billing.actions.drafts import ensure_draft
from billing.actions.measures import Measure, note_use
from billing.actions.metering import close_interval, rate_open_intervals
from billing.actions.month_close import close_due_months
from billing.models import BillingAccount, InvoiceLine, UsageMeasure
from billing.queries.invoice_lines import draft_lines
from tests.billing.conftest import START, Hands, Metered

HOUR = 3600


def measured(
    hour: datetime = START, *, units: int = HOUR, busy: float = 0.5, idle: int = 0
) -> Measure:
    return Measure(1, 1, hour, units, int(units * busy * 1_000_000), idle)


def close_may(hands: Hands) -> list[InvoiceLine]:
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    return list(InvoiceLine.objects.filter(interval__isnull=False).order_by("started_at"))


def test_line_says_how_busy_its_gpus_were_and_what_the_idle_time_cost(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(quantity=2)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    note_use("workload", [measured(units=2 * HOUR, busy=0.25, idle=HOUR)])
    (line,) = close_may(hands)
    assert (line.utilization_ppm, line.idle_micros) == (250_000, 2_100_000)


def test_time_that_was_not_measured_is_not_idle(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    note_use("workload", [measured(units=600, busy=0.0, idle=600)])
    (line,) = close_may(hands)
    assert (line.utilization_ppm, line.idle_micros) == (0, 350_000)


def test_line_of_a_run_that_nobody_measured_says_nothing(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    (line,) = close_may(hands)
    assert (line.utilization_ppm, line.idle_micros) == (None, None)


def test_idle_time_never_costs_more_than_the_run(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=START + timedelta(seconds=10))
    note_use("workload", [measured(units=11, busy=0, idle=11)])
    (line,) = close_may(hands)
    assert line.idle_micros == line.amount_micros


def test_each_month_has_its_own_hours(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    metered(at=june - timedelta(hours=1))
    close_interval("workload", 1, 1, ended_at=june + timedelta(hours=1))
    note_use("workload", [measured(june - timedelta(hours=1), busy=1), measured(june, busy=0)])
    (may,) = close_may(hands)
    hands.now = datetime(2026, 7, 2, tzinfo=UTC)
    close_due_months()
    in_june = InvoiceLine.objects.get(interval__isnull=False, started_at=june)
    assert (may.utilization_ppm, in_june.utilization_ppm) == (1_000_000, 0)


def test_draft_shows_it_before_the_month_is_over(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    rate_open_intervals(until=hands.forward(hours=1))
    note_use("workload", [measured(busy=0.75)])
    (line,) = draft_lines(ensure_draft(account))
    assert line.utilization_ppm == 750_000


def test_an_hour_that_is_told_again_replaces_what_was_known(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    assert note_use("workload", [measured(units=10)]) == 1
    assert note_use("workload", [measured(units=20)]) == 1
    assert note_use("workload", [measured(units=20)]) == 0
    assert UsageMeasure.objects.get().unit_seconds == 20


@pytest.mark.parametrize("kind", ["volume", "nothing"])
def test_what_was_never_metered_is_left_out(
    account: BillingAccount, metered: Metered, hands: Hands, kind: str
) -> None:
    metered()
    assert note_use(kind, [measured()]) == 0


def test_why_page_says_how_busy_a_run_was(
    alice: User,
    account: BillingAccount,
    metered: Metered,
    hands: Hands,
    client_of: Callable[[User], Client],
) -> None:
    metered()
    hands.forward(hours=1)
    note_use("workload", [measured(busy=0.5, idle=1200)])
    page = client_of(alice).get("/billing/usage/job_1/").content.decode()
    assert "50.0 %" in page
    assert f"${2.1 / 3:.6f} idle" in page
