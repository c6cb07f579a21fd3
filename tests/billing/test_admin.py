"""The staff console's view of money."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import AuditEvent, Team, User
from billing.actions.metering import close_interval
from billing.actions.month_close import close_due_months
from billing.choices import BreakKind
from billing.models import (
    BillingAccount,
    CreditLot,
    Invoice,
    JournalEntry,
    ReconciliationBreak,
)
from billing.queries.funds import funds_of
from portal.lib.money import MICROS
from tests.billing.conftest import Box, Hands, Metered

ClientOf = Callable[[User], Client]
MODELS = (
    "billingaccount",
    "ledgeraccount",
    "journalentry",
    "payment",
    "invoice",
    "price",
    "usageinterval",
    "webhookevent",
    "paymentmethod",
    "autotopup",
    "refund",
    "dispute",
    "psptransaction",
    "reconciliationrun",
    "reconciliationbreak",
)


@pytest.mark.parametrize("model", MODELS)
def test_list_is_shown_and_nothing_can_be_added(
    dora: User, account: BillingAccount, client_of: ClientOf, model: str
) -> None:
    client = client_of(dora)
    assert client.get(f"/admin/billing/{model}/").status_code == 200
    assert client.get(f"/admin/billing/{model}/add/").status_code == 403


def test_pages_are_shown(
    dora: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(minutes=10))
    client = client_of(dora)
    assert "$49.65" in client.get(_page(account)).content.decode()
    entry = JournalEntry.objects.get(kind="usage")
    page = client.get(f"/admin/billing/journalentry/{entry.pk}/change/").content.decode()
    assert "$0.350000" in page
    assert "Revenue from usage" in page
    hands.forward(days=40)
    close_due_months()
    invoice = Invoice.objects.get()
    page = client.get(f"/admin/billing/invoice/{invoice.pk}/change/").content.decode()
    assert "$0.350000" in page
    assert invoice.reference in page


def test_posting_a_change_is_refused(dora: User, team: Team, client_of: ClientOf) -> None:
    entry = JournalEntry.objects.get()
    url = f"/admin/billing/journalentry/{entry.pk}/"
    assert client_of(dora).post(f"{url}change/", {"memo": "x"}).status_code == 403
    assert client_of(dora).post(f"{url}delete/", {"post": "yes"}).status_code == 403


def test_staff_grants_credit_once(dora: User, account: BillingAccount, client_of: ClientOf) -> None:
    client = client_of(dora)
    url = f"{_page(account).removesuffix('change/')}grant-credit/"
    found = re.search(r'name="key" value="([^"]+)"', client.get(url).content.decode())
    assert found
    form = {
        "amount": "12.50",
        "reason": "an outage",
        "key": found[1],
        "kind": "goodwill",
        "last_day": "2999-12-31",
    }
    for _ in range(2):
        assert client.post(url, form).status_code == 302
    assert funds_of(account).balance_micros == 62_500_000
    event = AuditEvent.objects.filter(verb="credit.granted", user=dora).get()
    assert event.reason == "an outage"


@pytest.mark.parametrize("amount", ["", "0", "-5", "10000.01", "x"])
def test_bad_grant_is_said_on_the_form(
    dora: User, account: BillingAccount, client_of: ClientOf, amount: str
) -> None:
    url = f"{_page(account).removesuffix('change/')}grant-credit/"
    form = {"amount": amount, "reason": "", "key": "0" * 32, "kind": "promotional"}
    assert client_of(dora).post(url, form).status_code == 400
    assert funds_of(account).balance_micros == 50 * MICROS


def test_people_who_are_not_staff_see_nothing(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    client = client_of(alice)
    assert client.get("/admin/billing/journalentry/").status_code == 302
    url = f"{_page(account).removesuffix('change/')}grant-credit/"
    client.post(url, {"amount": "5", "reason": "me", "key": "0" * 32, "kind": "promotional"})
    assert funds_of(account).balance_micros == 50 * MICROS
    assert not Invoice.objects.exists()


def _page(account: BillingAccount) -> str:
    return f"/admin/billing/billingaccount/{account.pk}/change/"


def test_staff_reconcile_and_explain_what_differs(
    dora: User, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    client = client_of(dora)
    CreditLot.objects.update(remaining_micros=1)
    page = client.post("/admin/billing/reconciliationrun/reconcile-now/", follow=True)
    assert "differences are open" in page.content.decode()
    found = ReconciliationBreak.objects.filter(kind=BreakKind.LOTS).latest("pk")
    url = f"/admin/billing/reconciliationbreak/{found.pk}/explain/"
    assert client.post(url, {"why": ""}).status_code == 400
    assert client.post(url, {"why": "Moved by hand."}).status_code == 302
    found.refresh_from_db()
    assert found.resolution == "Moved by hand."
    assert AuditEvent.objects.filter(verb="break.explained").exists()
