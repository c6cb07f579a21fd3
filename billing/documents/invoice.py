"""The invoice as a document: the same facts for the page and the PDF."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from billing.choices import InvoiceStatus
from billing.documents.words import exact, exact_seconds, price
from billing.models import Invoice, UsageInterval
from portal.lib.errors import Unavailable
from portal.lib.money import MICROS_PER_CENT, duration_us, format_money, to_cents

# The same invoice gives the same bytes: fonts are stamped with this instant, 2026-01-01.
_EPOCH = "1767225600"


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One interval of the invoice, in the words of the document."""

    label: str
    public_id: str
    sku: str
    quantity: int
    time_text: str
    price_text: str
    amount_text: str


@dataclass(frozen=True, slots=True)
class InvoiceFacts:
    """An invoice and its lines, and the total in whole cents."""

    invoice: Invoice
    team: str
    is_draft: bool
    rows: tuple[InvoiceRow, ...]

    @property
    def total_text(self) -> str:
        """The exact total."""
        return exact(self.invoice.total_micros)

    @property
    def title(self) -> str:
        """What the document is headed with."""
        word = "Draft invoice" if self.is_draft else "Invoice"
        return f"{word}, {self.invoice.period_start:%B %Y}"

    @property
    def due_text(self) -> str:
        """The total rounded once, to the cent."""
        return format_money(to_cents(self.invoice.total_micros) * MICROS_PER_CENT)


def invoice_facts(invoice: Invoice) -> InvoiceFacts:
    """What an invoice says. Lines in the order of use."""
    lines = invoice.lines.select_related("interval__price", "interval__sku").order_by(
        "interval__started_at", "interval_id"
    )
    return InvoiceFacts(
        invoice=invoice,
        team=invoice.account.team.name,
        is_draft=invoice.status == InvoiceStatus.DRAFT,
        rows=tuple(_row(invoice, line.interval, line.amount_micros) for line in lines),
    )


def _row(invoice: Invoice, interval: UsageInterval, amount_micros: int) -> InvoiceRow:
    end = min(interval.rated_until, invoice.period_end)
    start = max(interval.started_at, invoice.period_start)
    return InvoiceRow(
        label=interval.resource_label,
        public_id=interval.resource_public_id,
        sku=interval.sku.label,
        quantity=interval.quantity,
        time_text=exact_seconds(duration_us(start, end)),
        price_text=price(interval.price.micros_per_hour),
        amount_text=exact(amount_micros),
    )


def invoice_html(invoice: Invoice) -> str:
    """The document as one page of HTML that needs nothing from outside."""
    context = {"facts": invoice_facts(invoice), "site_name": settings.SITE_NAME}
    return render_to_string("billing/invoice_document.html", context)


def invoice_pdf(invoice: Invoice) -> bytes:
    """The document as PDF; the same invoice gives the same bytes. Nothing is fetched.

    Raises Unavailable on a server without the text library it needs.
    """
    weasyprint, fetcher = _printer()
    css = weasyprint.CSS(string=render_to_string("billing/invoice_document.css"))
    html = weasyprint.HTML(string=invoice_html(invoice), url_fetcher=fetcher)
    pdf: bytes = html.write_pdf(
        stylesheets=[css], pdf_identifier=invoice.public_id.encode(), pdf_variant="pdf/ua-1"
    )
    return pdf


@lru_cache(maxsize=1)
def _printer() -> tuple[Any, Any]:
    """WeasyPrint, loaded on first use: it is large, and needs pango on the machine."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", _EPOCH)
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except OSError as error:
        raise Unavailable(
            "This server cannot make PDFs: the library pango is missing (on Debian the package "
            "libpangoft2-1.0-0). The invoice can be read on its page."
        ) from error
    return weasyprint, URLFetcher(allowed_protocols={"data"})
