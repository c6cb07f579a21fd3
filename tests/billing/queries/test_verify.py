"""`verify_invoice` works an invoice out again and says what differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.actions.drafts import ensure_draft
from billing.actions.faults import Fault
from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    prove,
    rate_open_intervals,
)
from billing.actions.month_close import close_due_months
from billing.models import BillingAccount, Invoice, Price
from tests.billing.conftest import START, Hands, Metered

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
LINES = "billing_invoiceline"


@pytest.fixture
def eventful(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    """Two months with odd seconds, a run over the month's end, a fault and a late end."""
    metered(1, quantity=3)
    metered(2)
    metered(3)
    close_interval("workload", 1, 1, ended_at=hands.forward(microseconds=1_234_567_891))
    close_interval(
        "workload", 3, 1, ended_at=hands.forward(hours=1), fault=Fault("node_lost", "A node died")
    )
    metered(4, at=JUNE - timedelta(hours=3))
    hands.now = JUNE + timedelta(days=1)
    close_due_months()
    close_interval("workload", 4, 1, ended_at=JUNE - timedelta(hours=1))
    close_interval("workload", 2, 1, ended_at=JUNE + timedelta(hours=5))
    hands.now = JUNE + timedelta(days=31)
    close_due_months()


def verify(number: str) -> str:
    out = StringIO()
    call_command("verify_invoice", number, stdout=out)
    return out.getvalue()


def tamper(table: str, sql: str) -> None:
    """What no code of ours can do: the table's triggers are off for a moment."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(sql)
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_right_invoices_are_equal(eventful: None) -> None:
    for number in ("FG-000001", "FG-000002"):
        assert f"{number}: equal" in verify(number)


def test_line_that_was_changed_is_named_with_the_difference(
    eventful: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(LINES, f"UPDATE {LINES} SET amount_micros = amount_micros + 7 WHERE quantity = 3")
    out = StringIO()
    with pytest.raises(CommandError, match="differences"):
        call_command("verify_invoice", "FG-000001", stdout=out)
    assert "difference $0.000007" in out.getvalue()


def test_use_that_no_line_speaks_of_is_found(eventful: None) -> None:
    tamper(LINES, f"DELETE FROM {LINES} WHERE quantity = 3")
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_invoice", "FG-000001", stdout=out)
    assert "has no line" in out.getvalue()


def test_wrong_price_is_found(eventful: None) -> None:
    tamper("billing_price", "UPDATE billing_price SET unit_micros = unit_micros + 1")
    with pytest.raises(CommandError, match="differences"):
        verify("FG-000001")


def test_unknown_number_is_refused(db: None) -> None:
    with pytest.raises(CommandError, match="no invoice"):
        verify("FG-999999")


def test_draft_is_refused(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    metered()
    rate_open_intervals(until=hands.forward(hours=1))
    with pytest.raises(CommandError, match="draft"):
        verify(ensure_draft(account).public_id)


def test_invoice_is_the_raw_use_whatever_the_ticks_were(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(1, quantity=7, at=START)
    for seconds in (1, 59, 3601, 86_399, 2_000_003):
        rate_open_intervals(until=hands.forward(seconds=seconds))
    hands.now = JUNE + timedelta(days=1)
    close_due_months()
    assert "equal" in verify(Invoice.objects.get().reference)


def test_use_of_two_closed_months_that_was_seen_later_is_told_apart(
    account: BillingAccount, prices: Price, metered: Metered, hands: Hands
) -> None:
    metered(1)
    resource = Resource("workload", 2, 1, "job_2", "train")
    unseen = Start(account, prices.sku.code, prices, resource, 1, START, proven_at=START)
    open_intervals([unseen])
    hands.now = JUNE + timedelta(days=31)
    close_due_months()
    prove("workload", [(2, 1)], at=hands.now)
    rate_open_intervals(until=hands.now)
    assert "equal" in verify("FG-000001")
    assert "equal" in verify("FG-000002")
