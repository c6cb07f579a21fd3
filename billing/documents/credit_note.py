"""A credit note in words."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.template.loader import render_to_string

from billing.documents.printer import print_pdf
from billing.documents.words import exact
from billing.models import CreditNote
from portal.lib.money import format_money

PDF_LINES = 1000


@dataclass(frozen=True, slots=True)
class NoteRow:
    """What is taken back of one line of the invoice."""

    label: str
    public_id: str
    amount_text: str


@dataclass(frozen=True, slots=True)
class NoteFacts:
    """A credit note; `hidden` lines more are not shown."""

    note: CreditNote
    rows: tuple[NoteRow, ...]
    hidden: int

    @property
    def net_text(self) -> str:
        """What is taken back, without tax."""
        return format_money(self.note.net_micros)

    @property
    def tax_text(self) -> str:
        """The tax on it."""
        return format_money(self.note.tax_micros)

    @property
    def total_text(self) -> str:
        """What is taken back."""
        return format_money(self.note.total_micros)

    @property
    def is_refund(self) -> bool:
        """Whether the money goes back to the card, not into credit."""
        return self.note.refund_id is not None


def credit_note_facts(note: CreditNote) -> NoteFacts:
    """What a credit note says, in a fixed number of queries."""
    lines = note.lines.select_related("invoice_line__interval").order_by("pk")
    rows = tuple(
        NoteRow(
            label=line.invoice_line.label,
            public_id=line.invoice_line.interval.resource_public_id
            if line.invoice_line.interval
            else "",
            amount_text=exact(line.amount_micros),
        )
        for line in lines[:PDF_LINES]
    )
    return NoteFacts(note, rows, hidden=lines.count() - len(rows))


def credit_note_pdf(note: CreditNote) -> bytes:
    """The note as PDF. Raises Unavailable on a server without the text library it needs."""
    context = {"facts": credit_note_facts(note), "note": note, "site_name": settings.SITE_NAME}
    html = render_to_string("billing/credit_note_document.html", context)
    return print_pdf(html, identifier=note.public_id)
