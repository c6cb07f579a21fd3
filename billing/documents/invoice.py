"""An invoice in words: the same facts for the page, the PDF and mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from django.conf import settings
from django.template.loader import render_to_string

from billing.choices import InvoiceKind, InvoiceStatus, LineKind
from billing.documents.printer import print_pdf
from billing.documents.words import exact, exact_seconds, fraction, hours, percent, unit_price
from billing.models import Invoice, InvoiceLine, InvoiceTax
from billing.queries.invoice_lines import draft_lines, draft_sums
from billing.queries.parties import Party, buyers, seller
from portal.lib.money import MICROSECONDS_PER_HOUR, format_money, from_cents, to_cents

# A PDF of more lines than this helps nobody: it says how many more there are, the CSV has all.
PDF_LINES = 1000
_TITLES = {
    InvoiceKind.USAGE: "Invoice",
    InvoiceKind.TOP_UP: "Invoice",
    InvoiceKind.RECEIPT: "Receipt",
}


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One line, in the words of the document."""

    kind: LineKind
    label: str
    resource_kind: str
    public_id: str
    sku: str
    quantity: int
    started_at: datetime | None
    ended_at: datetime | None
    time_text: str
    gpu_hours_text: str
    use_text: str
    idle_text: str
    price_text: str
    rounding_text: str
    amount_text: str


@dataclass(frozen=True, slots=True)
class TaxRow:
    """One rate: what it is on and what it comes to."""

    text: str
    base_text: str
    tax_text: str
    note: str


@dataclass(frozen=True, slots=True)
class InvoiceFacts:
    """An invoice and `rows` of its lines. `hidden` lines more come to `hidden_text`."""

    invoice: Invoice
    team: str
    seller: Party
    buyer: Party
    rows: tuple[InvoiceRow, ...]
    taxes: tuple[TaxRow, ...]
    line_count: int
    net_micros: int
    hidden: int = 0
    hidden_text: str = ""

    @property
    def is_draft(self) -> bool:
        """Whether it still follows usage."""
        return self.invoice.is_draft

    @property
    def is_usage(self) -> bool:
        """Whether it is about a month."""
        return self.invoice.kind == InvoiceKind.USAGE

    @property
    def title(self) -> str:
        """What the document is headed with."""
        word = _TITLES[InvoiceKind(self.invoice.kind)]
        if self.is_draft:
            return f"Draft invoice, {self.invoice.period_start:%B %Y}"
        return f"{word} {self.invoice.reference}"

    @property
    def net_text(self) -> str:
        """The lines together, to the cent on a final invoice."""
        return exact(self.net_micros) if self.is_draft else format_money(self.net_micros)

    @property
    def tax_text(self) -> str:
        """All tax."""
        return format_money(self.invoice.tax_micros)

    @property
    def total_text(self) -> str:
        """What it comes to, in whole cents; a draft's without tax."""
        cents = to_cents(self.net_micros) if self.is_draft else to_cents(self.invoice.total_micros)
        return format_money(from_cents(cents))

    @property
    def credit_text(self) -> str:
        """What was paid from credit, or by the payment a receipt is of."""
        return format_money(self.invoice.credit_micros)

    @property
    def due_text(self) -> str:
        """What was still open on the day of issue."""
        return format_money(self.invoice.due_micros)

    @property
    def is_open(self) -> bool:
        """Whether something is still to be paid."""
        return self.invoice.status == InvoiceStatus.FINAL


def invoice_facts(invoice: Invoice, *, offset: int = 0, limit: int | None = None) -> InvoiceFacts:
    """What an invoice says, with `limit` lines from `offset` on; a fixed number of queries."""
    lines: Sequence[InvoiceLine]
    if invoice.is_draft:
        lines = draft_lines(invoice, offset=offset, limit=limit)
        sums = draft_sums(invoice).values()
        count, net = sum(row[0] for row in sums), sum(row[1] for row in sums)
        sells, buys = seller(), buyers([invoice.account_id])[invoice.account_id]
    else:
        found = invoice.lines.order_by("pk")
        count, net = found.count(), invoice.net_micros
        end = None if limit is None else offset + limit
        lines = list(found.select_related("interval")[offset:end])
        sells, buys = invoice.seller, invoice.buyer
    rest = count - offset - len(lines)
    shown = sum(line.amount_micros for line in lines)
    return InvoiceFacts(
        invoice=invoice,
        team=invoice.account.team.name,
        seller=sells,
        buyer=buys,
        rows=tuple(_row(line) for line in lines),
        taxes=tuple(_tax_row(tax) for tax in invoice.taxes.order_by("-rate_ppm", "pk")),
        line_count=count,
        net_micros=net,
        hidden=rest if offset == 0 else 0,
        hidden_text=exact(net - shown),
    )


def _row(line: InvoiceLine) -> InvoiceRow:
    is_usage = line.interval is not None
    us, units = line.microseconds, line.quantity
    return InvoiceRow(
        kind=LineKind(line.kind),
        label=line.label,
        resource_kind=line.interval.resource_kind if line.interval else "",
        public_id=line.interval.resource_public_id if line.interval else "",
        sku=line.sku_label,
        quantity=units,
        started_at=line.started_at,
        ended_at=line.ended_at,
        time_text=exact_seconds(us) if is_usage else "",
        gpu_hours_text=hours(us * units) if is_usage else "",
        use_text=percent(line.utilization_ppm),
        idle_text="" if line.idle_micros is None else exact(line.idle_micros),
        price_text=unit_price(line.unit_micros, line.unit_hours) if is_usage else "",
        rounding_text=fraction(rounding_of(line)) if is_usage else "",
        amount_text=exact(line.amount_micros),
    )


def rounding_of(line: InvoiceLine) -> Fraction:
    """Micro-units by which the amount differs from `price x quantity x time`, exact."""
    product = line.unit_micros * line.quantity * line.microseconds
    return line.amount_micros - Fraction(product, line.unit_hours * MICROSECONDS_PER_HOUR)


def _tax_row(tax: InvoiceTax) -> TaxRow:
    name = tax.name or "Tax"
    place = f", {tax.jurisdiction}" if tax.jurisdiction and tax.rate_ppm else ""
    return TaxRow(
        text=f"{name} {tax.rate_ppm / 10_000:g} %{place}" if tax.rate_ppm else "No tax",
        base_text=format_money(tax.base_micros),
        tax_text=format_money(tax.tax_micros),
        note=tax.note,
    )


def invoice_html(invoice: Invoice, *, lines: int = PDF_LINES) -> str:
    """The document as one page of HTML that needs nothing from outside, of at most `lines`."""
    facts = invoice_facts(invoice, limit=lines)
    context = {"facts": facts, "invoice": invoice, "site_name": settings.SITE_NAME}
    return render_to_string("billing/invoice_document.html", context)


def invoice_pdf(invoice: Invoice) -> bytes:
    """The document as PDF; the same invoice gives the same bytes.

    Raises Unavailable on a server without the text library it needs.
    """
    return print_pdf(invoice_html(invoice), identifier=invoice.public_id)
