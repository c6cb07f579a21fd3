"""/billing/invoices/ and what hangs below it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.credit_notes import issue_credit_note, whole_invoice
from billing.actions.metering import close_interval
from billing.actions.month_close import close_due_months
from billing.actions.payments import new_payment, settle_payment
from billing.actions.receipts import document_payments
from billing.actions.refunds import settle_refund
from billing.choices import PaymentPurpose, PaymentStatus, RefundStatus
from billing.gateways.facts import PaymentFacts
from billing.gateways.refunds import RefundFacts
from billing.models import BillingAccount, CreditNote, DocumentFile, Invoice
from tests.billing.conftest import START, Hands, Metered

ClientOf = Callable[[User], Client]


def body(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def final(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    metered(1)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    return Invoice.objects.get()


@pytest.fixture
def note(final: Invoice, dora: User, team: Team) -> CreditNote:
    staff = Actor.staff(dora, team=team, reason="books")
    return issue_credit_note(staff, final.public_id, whole_invoice(final), reason="Slow disks")


def test_list_has_the_draft_and_what_is_final(
    alice: User, final: Invoice, client_of: ClientOf
) -> None:
    page = body(client_of(alice), "/billing/invoices/")
    assert "June 2026" in page
    assert "FG-000001" in page
    assert "$2.10" in page


def test_list_of_a_new_team_says_what_will_come(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    assert "No document yet" in body(client_of(alice), "/billing/invoices/")


def test_final_invoice_links_to_its_run(alice: User, final: Invoice, client_of: ClientOf) -> None:
    page = body(client_of(alice), f"/billing/invoices/{final.public_id}/")
    assert 'href="/jobs/job_1/"' in page
    assert "Taxed when the credit was bought" in page


def test_csv_is_streamed_and_its_digest_kept(
    alice: User, final: Invoice, client_of: ClientOf
) -> None:
    response = client_of(alice).get(f"/billing/invoices/{final.public_id}/csv/")
    assert response.streaming
    data = b"".join(response)
    assert data.startswith(b"BillingAccountId,")
    kept = DocumentFile.objects.get(kind="csv")
    assert (kept.sha256, kept.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_same_pdf_is_kept_once(alice: User, final: Invoice, client_of: ClientOf) -> None:
    url = f"/billing/invoices/{final.public_id}/pdf/"
    first, second = client_of(alice).get(url), client_of(alice).get(url)
    assert first.content == second.content
    assert DocumentFile.objects.get().sha256 == hashlib.sha256(first.content).hexdigest()
    assert 'filename="FG-000001-2026-05.pdf"' in first.headers["Content-Disposition"]


def test_credit_note_is_a_page_and_a_pdf(
    alice: User, note: CreditNote, client_of: ClientOf
) -> None:
    client = client_of(alice)
    page = body(client, f"/billing/credit-notes/{note.public_id}/")
    assert "Slow disks" in page
    assert "FG-000001" in page
    pdf = client.get(f"/billing/credit-notes/{note.public_id}/pdf/")
    assert pdf.content.startswith(b"%PDF-")
    assert note.reference in body(client, f"/billing/invoices/{note.invoice.public_id}/")


def test_documents_of_others_are_not_found(
    charlie: User, final: Invoice, note: CreditNote, client_of: ClientOf
) -> None:
    client = client_of(charlie)
    for path in (
        f"/billing/invoices/{final.public_id}/",
        f"/billing/invoices/{final.public_id}/csv/",
        f"/billing/credit-notes/{note.public_id}/",
        f"/billing/credit-notes/{note.public_id}/pdf/",
    ):
        assert client.get(path).status_code == 404


def test_page_of_many_lines_shows_some_in_a_fixed_number_of_queries(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as found:
            body(client, path)
        return len(found)

    for number in range(1, 61):
        metered(number, at=START if number <= 1 else START + timedelta(days=40))
        end = START + timedelta(days=0 if number <= 1 else 40, minutes=1)
        close_interval("workload", number, 1, ended_at=end)
    hands.now = START + timedelta(days=70)
    close_due_months()
    short, long = Invoice.objects.order_by("period_start")
    client = client_of(alice)
    body(client, f"/billing/invoices/{short.public_id}/")
    assert queries(f"/billing/invoices/{long.public_id}/") <= queries(
        f"/billing/invoices/{short.public_id}/"
    )
    assert "50 of 60" in body(client, f"/billing/invoices/{long.public_id}/")


def test_note_of_a_refund_that_came_back_says_it_is_void(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    payment = new_payment(account, purpose=PaymentPurpose.TOP_UP, net_cents=25_00)
    settle_payment(
        PaymentFacts(payment.public_id, PaymentStatus.SUCCEEDED, 25_00, "usd", intent_id="pi_1")
    )
    facts = RefundFacts("re_1", "", "pi_1", 25_00, "usd", RefundStatus.SUCCEEDED, "")
    settle_refund(facts)
    document_payments()
    note = CreditNote.objects.get()
    paths = (
        "/billing/invoices/",
        f"/billing/invoices/{note.invoice.public_id}/",
        f"/billing/credit-notes/{note.public_id}/",
    )
    assert not any("void" in body(client_of(alice), path).lower() for path in paths)
    settle_refund(replace(facts, status=RefundStatus.FAILED))
    assert all("void" in body(client_of(alice), path).lower() for path in paths)
