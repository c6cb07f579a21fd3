"""A document for each payment, and a credit note for each refund of one.

Where credit is taxed when it is bought, the document is an invoice; otherwise a receipt, for which
tax numbers of its own would be wrong. Sweeps, a fixed number of statements a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing.actions.numbering import credit_note_numbers, invoice_numbers, receipt_numbers
from billing.choices import (
    InvoiceKind,
    InvoiceStatus,
    LineKind,
    PaymentPurpose,
    PaymentStatus,
    RefundStatus,
    TaxPoint,
)
from billing.models import (
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    Payment,
    Refund,
)
from billing.queries.parties import buyers, seller
from billing.queries.tax import tax_rules
from portal.lib import clock
from portal.lib.rows import update_rows

TOGETHER = 500
_NUMBERED = (
    "series", "number", "reference", "issued_at", "seller", "buyer", "status", "paid_at",
)  # fmt: skip


def document_payments() -> int:
    """Write what payments and refunds still lack; returns the number of documents."""
    written = 0
    while batch := _write_payments() + _write_refunds():
        written += batch
    return written


@transaction.atomic
def _write_payments() -> int:
    # The lock keeps two sweeps apart; what one holds the other leaves to it.
    payments = list(
        Payment.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("account", "invoice")
        .filter(status=PaymentStatus.SUCCEEDED, document__isnull=True)
        .order_by("pk")[:TOGETHER]
    )
    if not payments:
        return 0
    documents = [_draft(payment) for payment in payments]
    Invoice.objects.bulk_create(documents)
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=document,
            kind=LineKind.PAYMENT if payment.invoice else LineKind.CREDIT,
            label=_label(payment),
            amount_micros=payment.net_micros,
        )
        for document, payment in zip(documents, payments, strict=True)
    )
    InvoiceTax.objects.bulk_create(_taxes(documents, payments))
    now = clock.now()
    taxed = [document for document in documents if document.kind == InvoiceKind.TOP_UP]
    plain = [document for document in documents if document.kind == InvoiceKind.RECEIPT]
    parties = buyers({payment.account_id for payment in payments})
    invoices, receipts = invoice_numbers(len(taxed)), receipt_numbers(len(plain))
    for numbers, batch in ((invoices, taxed), (receipts, plain)):
        for offset, document in enumerate(batch):
            document.series, document.number = numbers.series, numbers.first + offset
            document.reference = numbers.reference(offset)
            document.issued_at, document.status = now, InvoiceStatus.PAID
            document.seller, document.buyer = seller(), parties[document.account_id]
    update_rows(documents, _NUMBERED)
    return len(documents)


def _draft(payment: Payment) -> Invoice:
    is_taxed = settings.TAX_POINT == TaxPoint.TOP_UP or payment.tax_micros > 0
    is_credit = payment.purpose != PaymentPurpose.INVOICE
    return Invoice(
        account=payment.account,
        kind=InvoiceKind.TOP_UP if is_taxed and is_credit else InvoiceKind.RECEIPT,
        payment=payment,
        currency=payment.currency,
        tax_point=settings.TAX_POINT if is_taxed and is_credit else "",
        paid_at=payment.settled_at,
        net_micros=payment.net_micros,
        tax_micros=payment.tax_micros,
        total_micros=payment.amount_micros,
        credit_micros=payment.amount_micros,
    )


def _label(payment: Payment) -> str:
    return f"Payment of {payment.invoice.reference}" if payment.invoice else "Prepaid credit"


def _taxes(documents: Sequence[Invoice], payments: Sequence[Payment]) -> list[InvoiceTax]:
    """The tax that was asked for, with the words of the rule that asked for it."""
    days: dict[datetime, set[int]] = {}
    for payment in payments:
        days.setdefault(_day(payment), set()).add(payment.account_id)
    rules = {day: tax_rules(ids, at=day) for day, ids in days.items()}
    rows = []
    for document, payment in zip(documents, payments, strict=True):
        rule = rules[_day(payment)][payment.account_id]
        is_due = bool(payment.tax_micros)
        rows.append(
            InvoiceTax(
                invoice=document,
                name=rule.name if is_due else "",
                jurisdiction=rule.jurisdiction if is_due else "",
                rate_ppm=rule.rate_ppm if is_due else 0,
                base_micros=payment.net_micros,
                tax_micros=payment.tax_micros,
                note=rule.note if document.kind == InvoiceKind.TOP_UP else "",
            )
        )
    return rows


def _day(payment: Payment) -> datetime:
    """When the tax was worked out: rates begin at midnight."""
    return payment.created_at.replace(hour=0, minute=0, second=0, microsecond=0)


@transaction.atomic
def _write_refunds() -> int:
    refunds = list(
        Refund.objects.select_for_update(skip_locked=True, of=("self",))
        .filter(
            status=RefundStatus.SUCCEEDED,
            credit_note__isnull=True,
            payment__document__isnull=False,
        )
        .select_related("payment__document")
        .order_by("pk")[:TOGETHER]
    )
    if not refunds:
        return 0
    lines = {
        line.invoice_id: line
        for line in InvoiceLine.objects.filter(
            invoice__in=[refund.payment.document.pk for refund in refunds]
        )
    }
    numbers, now = credit_note_numbers(len(refunds)), clock.now()
    notes = CreditNote.objects.bulk_create(
        CreditNote(
            invoice=refund.payment.document,
            series=numbers.series,
            number=numbers.first + offset,
            reference=numbers.reference(offset),
            reason=refund.reason or "Unused credit refunded",
            issued_at=now,
            net_micros=refund.net_micros,
            tax_micros=refund.tax_micros,
            total_micros=refund.amount_micros,
            seller=refund.payment.document.seller,
            buyer=refund.payment.document.buyer,
            refund=refund,
        )
        for offset, refund in enumerate(refunds)
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            credit_note=note,
            invoice_line=lines[note.invoice_id],
            amount_micros=note.net_micros,
        )
        for note in notes
        if note.net_micros
    )
    return len(notes)
