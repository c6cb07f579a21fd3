"""/billing/invoices/<id>/: the invoice and its PDF."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from billing.access import invoice_for
from billing.actions.invoices import refresh_draft
from billing.choices import InvoiceStatus
from billing.documents.invoice import invoice_facts
from billing.documents.invoice import invoice_pdf as pdf_of
from billing.models import Invoice


@require_safe
@signed_in
def invoice(request: PortalRequest, invoice_id: str) -> HttpResponse:
    """The invoice as a page."""
    facts = invoice_facts(_current(invoice_for(request.actor, invoice_id)))
    return render(request, "billing/invoice.html", {"facts": facts, "invoice": facts.invoice})


@require_safe
@signed_in
def invoice_pdf(request: PortalRequest, invoice_id: str) -> HttpResponse:
    """The invoice as a PDF to download."""
    found = _current(invoice_for(request.actor, invoice_id))
    response = HttpResponse(pdf_of(found), content_type="application/pdf")
    name = f"{found.public_id}-{found.period_start:%Y-%m}.pdf"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _current(found: Invoice) -> Invoice:
    """A draft is brought up to what is posted before it is shown."""
    if found.status != InvoiceStatus.DRAFT:
        return found
    refresh_draft(found.account, at=found.period_start)
    found.refresh_from_db(fields=["total_micros", "updated_at", "status"])
    return found
