"""A document for each payment, a credit note for each refund."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.actor import Actor
from billing.actions.payments import settle_session
from billing.actions.receipts import document_payments
from billing.actions.refunds import refund_payment, settle_refund_id
from billing.actions.topups import start_top_up
from billing.choices import InvoiceKind, InvoiceStatus, RefundStatus
from billing.models import BillingAccount, CreditNote, Invoice, Payment, TaxRate
from portal.lib.money import MICROS
from tests.billing.conftest import Box


@pytest.fixture
def german_vat(db: None, settings: Any) -> None:
    settings.SELLER_COUNTRY = "DE"
    TaxRate.objects.create(country="DE", name="VAT", rate_ppm=190_000, valid_during=(None, None))


def pay(actor: Actor, box: Box, number: str = "4242 4242 4242 4242") -> Payment:
    box.pay(start_top_up(actor, amount_cents=25_00), number=number)
    return settle_session(Payment.objects.latest("pk").checkout_session_id or "")


def test_credit_taxed_when_bought_comes_with_an_invoice(
    account: BillingAccount, actor: Actor, box: Box, german_vat: None
) -> None:
    payment = pay(actor, box)
    assert document_payments() == 1
    document = Invoice.objects.get()
    assert (document.kind, document.status) == (InvoiceKind.TOP_UP, InvoiceStatus.PAID)
    assert document.payment == payment
    assert (document.net_micros, document.tax_micros) == (25 * MICROS, 4_750_000)
    assert document.taxes.get().rate_ppm == 190_000
    assert document.reference == "FG-000001"


def test_credit_taxed_when_used_comes_with_a_receipt(
    account: BillingAccount, actor: Actor, box: Box, german_vat: None, settings: Any
) -> None:
    settings.TAX_POINT = "usage"
    assert pay(actor, box).tax_micros == 0
    document_payments()
    document = Invoice.objects.get()
    assert (document.kind, document.reference) == (InvoiceKind.RECEIPT, "FG-R-000001")


def test_payment_is_documented_once(account: BillingAccount, actor: Actor, box: Box) -> None:
    pay(actor, box)
    assert document_payments() == 1
    assert document_payments() == 0


def test_unpaid_payment_has_no_document(account: BillingAccount, actor: Actor, box: Box) -> None:
    start_top_up(actor, amount_cents=25_00)
    assert document_payments() == 0


def test_refund_comes_with_a_credit_note(
    account: BillingAccount, actor: Actor, box: Box, german_vat: None
) -> None:
    payment = pay(actor, box)
    refund = refund_payment(actor, payment, net_cents=10_00)
    assert document_payments() == 2
    note = CreditNote.objects.get()
    assert (note.refund, note.invoice.payment) == (refund, payment)
    assert (note.net_micros, note.tax_micros) == (10 * MICROS, 1_900_000)
    assert note.lines.get().amount_micros == 10 * MICROS
    assert document_payments() == 0


def test_refund_that_comes_back_voids_its_note_and_may_be_made_again(
    account: BillingAccount, actor: Actor, box: Box, german_vat: None
) -> None:
    payment = pay(actor, box, number="4000 0000 0000 5126")
    refund = refund_payment(actor, payment)
    document_payments()
    box.server.advance(4000)
    assert settle_refund_id(refund.stripe_refund_id or "").status == RefundStatus.FAILED
    refund_payment(actor, payment, net_cents=10_00)
    assert document_payments() == 1
    void, note = CreditNote.objects.order_by("pk")
    assert (void.is_void, note.is_void) == (True, False)
    assert note.net_micros == 10 * MICROS
