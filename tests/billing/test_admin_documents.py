"""Staff and documents: looked at, taken back, given up; terms and tax rates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import User
from billing.actions.metering import close_interval
from billing.actions.month_close import close_due_months
from billing.choices import Collection, InvoiceStatus
from billing.models import BillingAccount, CreditLot, CreditNote, Invoice, TaxRate
from portal.lib.money import MICROS
from tests.billing.conftest import START, Hands, Metered

ClientOf = Callable[[User], Client]


@pytest.fixture
def staff(dora: User, client_of: ClientOf) -> Client:
    return client_of(dora)


@pytest.fixture
def invoice(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    metered(1)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=10))
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    return Invoice.objects.get()


@pytest.mark.parametrize("model", ["creditnote", "billingprofile", "taxrate", "invoice"])
def test_lists_are_shown(staff: Client, account: BillingAccount, model: str) -> None:
    assert staff.get(f"/admin/billing/{model}/").status_code == 200
    assert staff.get(f"/admin/billing/{model}/add/").status_code == 403


def test_part_of_an_invoice_is_taken_back(staff: Client, invoice: Invoice) -> None:
    url = f"/admin/billing/invoice/{invoice.pk}/credit-note/"
    assert invoice.reference in staff.get(url).content.decode()
    assert staff.post(url, {"amount": "5", "reason": "Slow disks"}).status_code == 302
    assert CreditNote.objects.get().total_micros == 5 * MICROS


def test_all_of_an_invoice_is_taken_back(staff: Client, invoice: Invoice) -> None:
    staff.post(f"/admin/billing/invoice/{invoice.pk}/credit-note/", {"reason": "All of it"})
    assert CreditNote.objects.get().total_micros == invoice.total_micros


def test_more_than_is_left_is_refused(staff: Client, invoice: Invoice) -> None:
    url = f"/admin/billing/invoice/{invoice.pk}/credit-note/"
    response = staff.post(url, {"amount": "21.01", "reason": "Too much"})
    assert response.status_code == 400
    assert "$21.00 that is left" in response.content.decode()


def test_debt_is_given_up(
    staff: Client, account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    CreditLot.objects.update(expires_at=START - timedelta(days=1))
    metered(1)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=1))
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    invoice = Invoice.objects.get()
    staff.post(f"/admin/billing/invoice/{invoice.pk}/write-off/", {"why": "Closed"})
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.UNCOLLECTIBLE


def test_team_may_pay_after_use(staff: Client, account: BillingAccount) -> None:
    url = f"/admin/billing/billingaccount/{account.pk}/terms/"
    form = {"collection": "postpaid", "credit_limit": "500"}
    assert staff.post(url, form).status_code == 302
    account.refresh_from_db()
    assert (account.collection, account.credit_limit_micros) == (
        Collection.POSTPAID,
        500 * MICROS,
    )


@pytest.mark.parametrize(
    "form",
    [
        {"collection": "postpaid", "credit_limit": "0"},
        {"collection": "prepaid", "credit_limit": "5"},
        {"collection": "postpaid", "credit_limit": "1e18"},
        {"collection": "postpaid", "credit_limit": "NaN"},
        {"collection": "later", "credit_limit": "5"},
    ],
)
def test_terms_that_make_no_sense_are_refused(
    staff: Client, account: BillingAccount, form: dict[str, str]
) -> None:
    response = staff.post(f"/admin/billing/billingaccount/{account.pk}/terms/", form)
    assert response.status_code == 400
    account.refresh_from_db()
    assert account.collection == Collection.PREPAID


def test_tax_rate_ends_the_one_before(staff: Client, db: None, hands: Hands) -> None:
    form = {"country": "DE", "name": "VAT", "rate": "19", "starts_on": "2026-06-01"}
    assert staff.post("/admin/billing/taxrate/set/", form).status_code == 302
    form |= {"rate": "20", "starts_on": "2026-07-01"}
    assert staff.post("/admin/billing/taxrate/set/", form).status_code == 302
    first, second = TaxRate.objects.order_by("pk")
    assert first.valid_during.upper == second.valid_during.lower
    assert (first.rate_ppm, second.rate_ppm) == (190_000, 200_000)


@pytest.mark.parametrize(
    "change", [{"rate": "101"}, {"starts_on": "2026-05-01"}, {"name": ""}, {"country": "XX"}]
)
def test_tax_rate_that_cannot_be_is_refused(
    staff: Client, db: None, hands: Hands, change: dict[str, str]
) -> None:
    form = {"country": "DE", "name": "VAT", "rate": "19", "starts_on": "2026-06-01"} | change
    assert staff.post("/admin/billing/taxrate/set/", form).status_code == 400
    assert not TaxRate.objects.exists()
