"""The CSV: columns of FOCUS, dollars, nothing a spreadsheet would run."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.actions.drafts import ensure_draft
from billing.actions.metering import close_interval
from billing.actions.month_close import close_due_months
from billing.documents.focus import COLUMNS, invoice_csv
from billing.models import BillingAccount, Invoice, UsageInterval
from portal.lib.cells import safe_cell
from tests.billing.conftest import START, Hands, Metered


def rows(invoice: Invoice) -> list[dict[str, str]]:
    return list(csv.DictReader(invoice_csv(invoice)))


@pytest.fixture
def final(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    metered(1, quantity=2)
    close_interval("workload", 1, 1, ended_at=START + timedelta(seconds=1000))
    UsageInterval.objects.update(resource_label='=HYPERLINK("http://evil")', project="vision")
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    return Invoice.objects.get()


def test_columns_are_those_of_focus(final: Invoice) -> None:
    assert next(iter(invoice_csv(final))).strip().split(",") == list(COLUMNS)


def test_line_is_in_dollars_and_utc(final: Invoice) -> None:
    row = rows(final)[0]
    assert row["BilledCost"] == "1.166666"
    assert row["BillingCurrency"] == "USD"
    assert row["ListUnitPrice"] == "2.100000"
    assert row["ChargePeriodStart"] == "2026-05-04T10:00:00.000000Z"
    assert row["ChargePeriodEnd"] == "2026-05-04T10:16:40.000000Z"
    assert row["BillingPeriodEnd"] == "2026-06-01T00:00:00.000000Z"
    assert (row["ChargeCategory"], row["InvoiceId"]) == ("Usage", "FG-000001")
    assert row["Tags"] == '{"project": "vision"}'


def test_costs_add_up_to_the_invoice(final: Invoice) -> None:
    total = sum(Decimal(row["BilledCost"]) for row in rows(final))
    assert total == Decimal(final.net_micros) / 1_000_000


def test_formula_in_a_name_is_text(final: Invoice) -> None:
    assert rows(final)[0]["ResourceName"] == '\'=HYPERLINK("http://evil")'


def test_draft_has_a_csv_too(account: BillingAccount, metered: Metered, hands: Hands) -> None:
    metered(1)
    close_interval("workload", 1, 1, ended_at=hands.forward(hours=1))
    row = rows(ensure_draft(account))[0]
    assert (row["BilledCost"], row["InvoiceId"]) == ("2.100000", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@sum", "\t=1", "\r=1", "-", "-a"])
def test_what_begins_a_formula_is_quoted(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "-12", "1.5", "", "train"])
def test_other_cells_stay(text: str) -> None:
    assert safe_cell(text) == text
