"""The lines of an invoice as CSV, with the columns that FOCUS names.

FinOps Open Cost and Usage Specification 1.2; what it has no column for begins with `x_`. Times are
UTC, ends exclusive; amounts are dollars, exact to the micro-unit.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.choices import LineKind
from billing.documents.invoice import rounding_of
from billing.models import Invoice, InvoiceLine
from billing.queries.invoice_lines import draft_lines, lines_of
from portal.lib.cells import safe_cell
from portal.lib.money import MICROS, MICROSECONDS_PER_HOUR

COLUMNS: Final = (
    "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart",
    "BillingPeriodEnd", "InvoiceId", "InvoiceIssuerName", "ChargePeriodStart", "ChargePeriodEnd",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ResourceId", "ResourceName",
    "SkuId", "ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit",
    "ListUnitPrice", "BilledCost", "Tags", "x_MeanUtilizationPercent", "x_IdleCost", "x_Rounding",
)  # fmt: skip
_CATEGORIES = {
    LineKind.USAGE: "Usage",
    LineKind.ADJUSTMENT: "Usage",
    LineKind.SERVICE: "Credit",
    LineKind.ROUNDING: "Adjustment",
    LineKind.CREDIT: "Purchase",
    LineKind.PAYMENT: "Purchase",
}
_CORRECTIONS = {LineKind.ADJUSTMENT, LineKind.SERVICE}


class _Echo:
    """A file that gives back what is written."""

    def write(self, text: str) -> str:
        return text


def invoice_csv(invoice: Invoice) -> Iterator[str]:
    """The rows one after the other, the header first; of any number only some are in memory."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for line in _lines(invoice):
        yield writer.writerow([safe_cell(cell) for cell in _cells(invoice, line)])


def _lines(invoice: Invoice) -> Iterable[InvoiceLine]:
    return draft_lines(invoice) if invoice.is_draft else lines_of(invoice)


def _cells(invoice: Invoice, line: InvoiceLine) -> list[str]:
    kind, interval = LineKind(line.kind), line.interval
    is_usage = interval is not None
    gpu_hours = Decimal(line.quantity * line.microseconds) / MICROSECONDS_PER_HOUR
    priced = gpu_hours / line.unit_hours
    issuer = invoice.seller.get("name", "") if invoice.seller else ""
    return [
        invoice.account.team.public_id,
        invoice.account.team.name,
        invoice.currency.upper(),
        _time(invoice.period_start),
        _time(invoice.period_end),
        invoice.reference,
        issuer,
        _time(_earlier(line)),
        _time(_later(line)),
        _CATEGORIES[kind],
        "Correction" if kind in _CORRECTIONS else "",
        line.label if not is_usage else f"{line.quantity} x {line.sku_label}",
        interval.resource_public_id if interval else "",
        interval.resource_label if interval else "",
        line.sku_label,
        f"{gpu_hours:.9f}" if is_usage else "",
        "Hours" if is_usage else "",
        f"{priced:.12f}" if is_usage else "",
        ("Hours" if line.unit_hours == 1 else f"{line.unit_hours} Hours") if is_usage else "",
        _dollars(line.unit_micros) if is_usage else "",
        _dollars(line.amount_micros),
        f'{{"project": "{interval.project}"}}' if interval and interval.project else "",
        "" if line.utilization_ppm is None else f"{Decimal(line.utilization_ppm) / 10_000:.4f}",
        "" if line.idle_micros is None else _dollars(line.idle_micros),
        f"{float(rounding_of(line)) / MICROS:.12f}" if is_usage else "",
    ]


def _earlier(line: InvoiceLine) -> datetime | None:
    if line.started_at is None or line.ended_at is None:
        return None
    return min(line.started_at, line.ended_at)


def _later(line: InvoiceLine) -> datetime | None:
    if line.started_at is None or line.ended_at is None:
        return None
    return max(line.started_at, line.ended_at)


def _dollars(micros: int) -> str:
    return f"{Decimal(micros) / MICROS:.6f}"


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else ""
