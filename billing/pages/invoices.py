"""/billing/invoices/: the documents of a team, each as a page, a PDF and a CSV."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeVar

from django.core.paginator import Paginator
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of, credit_note_for, invoice_for
from billing.actions.drafts import ensure_draft
from billing.actions.files import note_file
from billing.choices import FileKind, InvoiceStatus
from billing.documents.credit_note import credit_note_facts, credit_note_pdf
from billing.documents.focus import invoice_csv
from billing.documents.invoice import invoice_facts, invoice_pdf
from billing.models import CreditNote, Invoice
from billing.queries.invoice_lines import draft_sums

_Response = TypeVar("_Response", bound=HttpResponseBase)
LIST_SIZE = 24
PAGE_SIZE = 50


@require_safe
@signed_in
def invoices(request: PortalRequest) -> HttpResponse:
    """All documents, the draft of this month first."""
    account = account_of(request.actor)
    draft = ensure_draft(account)
    final = account.invoices.exclude(status=InvoiceStatus.DRAFT).order_by("-pk")
    context = {
        "draft": draft,
        "draft_micros": sum(total for _, total in draft_sums(draft).values()),
        "page": Paginator(final, LIST_SIZE).get_page(request.GET.get("page")),
        "notes": CreditNote.objects.filter(invoice__account=account)
        .select_related("invoice", "refund")
        .order_by("-pk")[:LIST_SIZE],
    }
    return render(request, "billing/invoices.html", context)


@require_safe
@signed_in
def invoice(request: PortalRequest, invoice_id: str) -> HttpResponse:
    """One document, some of its lines at a time."""
    found = invoice_for(request.actor, invoice_id)
    count = invoice_facts(found, limit=0).line_count
    page = Paginator(range(count), PAGE_SIZE).get_page(request.GET.get("page"))
    facts = invoice_facts(found, offset=(page.number - 1) * PAGE_SIZE, limit=PAGE_SIZE)
    context = {
        "facts": facts,
        "invoice": found,
        "page": page,
        "notes": found.credit_notes.select_related("refund").order_by("pk"),
    }
    return render(request, "billing/invoice.html", context)


@require_safe
@signed_in
def pdf(request: PortalRequest, invoice_id: str) -> HttpResponse:
    """The document as a PDF to download."""
    found = invoice_for(request.actor, invoice_id)
    data = invoice_pdf(found)
    note_file(found, FileKind.PDF, hashlib.sha256(data).hexdigest(), len(data))
    return _download(HttpResponse(data, content_type="application/pdf"), _name(found, "pdf"))


@require_safe
@signed_in
def lines_csv(request: PortalRequest, invoice_id: str) -> HttpResponseBase:
    """Every line, with the columns of FOCUS, streamed."""
    found = invoice_for(request.actor, invoice_id)
    body = _noted(found, invoice_csv(found))
    response = StreamingHttpResponse(body, content_type="text/csv; charset=utf-8")
    return _download(response, _name(found, "csv"))


@require_safe
@signed_in
def credit_note(request: PortalRequest, note_id: str) -> HttpResponse:
    """A credit note as a page."""
    facts = credit_note_facts(credit_note_for(request.actor, note_id))
    return render(request, "billing/credit_note.html", {"facts": facts, "note": facts.note})


@require_safe
@signed_in
def note_pdf(request: PortalRequest, note_id: str) -> HttpResponse:
    """A credit note as a PDF to download."""
    found = credit_note_for(request.actor, note_id)
    data = credit_note_pdf(found)
    note_file(found, FileKind.PDF, hashlib.sha256(data).hexdigest(), len(data))
    response = HttpResponse(data, content_type="application/pdf")
    return _download(response, f"{found.reference}.pdf")


def _noted(found: Invoice, rows: Iterator[str]) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for row in rows:
        data = row.encode()
        digest.update(data)
        size += len(data)
        yield data
    note_file(found, FileKind.CSV, digest.hexdigest(), size)


def _name(found: Invoice, suffix: str) -> str:
    month = f"-{found.period_start:%Y-%m}" if found.period_start else ""
    return f"{found.reference or 'draft'}{month}.{suffix}"


def _download(response: _Response, name: str) -> _Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
