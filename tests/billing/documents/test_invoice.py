"""Draft invoices and their PDF."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.actions.drafts import ensure_draft
from billing.actions.metering import close_interval, rate_open_intervals
from billing.actions.month_close import close_due_months
from billing.documents.invoice import invoice_facts, invoice_html, invoice_pdf
from billing.documents.words import exact_seconds, price
from billing.models import BillingAccount, BillingProfile, Invoice, UsageInterval
from tests.billing.conftest import Hands, Metered


@pytest.fixture
def draft(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    metered(1)
    metered(2, quantity=2)
    close_interval("workload", 1, 1, ended_at=hands.forward(minutes=10))
    rate_open_intervals(until=hands.forward(minutes=10))
    return ensure_draft(account)


@pytest.fixture
def final(draft: Invoice, hands: Hands) -> Invoice:
    close_interval("workload", 2, 1, ended_at=hands.now)
    hands.forward(days=40)
    assert close_due_months() == 1
    draft.refresh_from_db()
    return draft


def net_of(invoice: Invoice) -> int:
    return invoice_facts(invoice).net_micros


def test_draft_is_the_sum_of_what_was_posted(draft: Invoice) -> None:
    assert net_of(draft) == 350_000 + 1_400_000


def test_draft_follows_usage(draft: Invoice, account: BillingAccount, hands: Hands) -> None:
    close_interval("workload", 2, 1, ended_at=hands.forward(minutes=10))
    again = ensure_draft(account)
    assert (again.pk, net_of(again)) == (draft.pk, 350_000 + 2_100_000)


def test_give_back_lowers_the_draft(draft: Invoice) -> None:
    close_interval("workload", 2, 1, ended_at=datetime(2026, 5, 4, 10, 5, tzinfo=UTC))
    assert net_of(draft) == 350_000 + 350_000


def test_document_shows_the_sum_behind_each_amount(draft: Invoice) -> None:
    row = invoice_facts(draft).rows[1]
    assert (row.quantity, row.price_text, row.time_text) == (2, "$2.10/h", "1,200")
    assert (row.gpu_hours_text, row.amount_text) == ("0.666667", "$1.400000")
    html = invoice_html(draft)
    times = "\N{MULTIPLICATION SIGN}"
    assert f"2 {times} {row.sku} {times} 1,200 s {times} $2.10/h (0.666667 unit-hours)" in html
    assert "$1.75" in html


def test_rounding_of_a_line_is_said(
    metered: Metered, hands: Hands, account: BillingAccount
) -> None:
    metered(1)
    close_interval("workload", 1, 1, ended_at=hands.forward(microseconds=1_000_001))
    row = invoice_facts(ensure_draft(account)).rows[0]
    # 2.10 x 1.000001 s / 3600 s = $0.00058333391..., of which $0.000583 is charged.
    assert (row.amount_text, row.rounding_text) == ("$0.000583", "-$0.000000334")


def test_final_says_who_sells_and_who_buys(draft: Invoice, hands: Hands, settings: Any) -> None:
    settings.SELLER_NAME, settings.SELLER_TAX_ID = "Cloud GmbH", "DE136695976"
    hands.forward(days=40)
    BillingProfile.objects.create(
        account=draft.account, legal_name="Lab <Ltd>", address="Road 1", city="Graz", country="AT"
    )
    close_due_months()
    draft.refresh_from_db()
    html = invoice_html(draft)
    assert all(text in html for text in ("Cloud GmbH", "DE136695976", "Lab &lt;Ltd&gt;", "Graz"))
    assert draft.reference in html


def test_final_does_not_follow_who_buys(final: Invoice) -> None:
    BillingProfile.objects.create(account=final.account, legal_name="Other", country="AT")
    assert "Other" not in invoice_html(final)


def test_markup_in_a_name_is_text(draft: Invoice) -> None:
    UsageInterval.objects.update(resource_label="<img src=http://127.0.0.1:9/x>")
    assert "&lt;img" in invoice_html(draft)


def test_document_of_many_lines_says_how_many_it_leaves_out(final: Invoice) -> None:
    html = invoice_html(final, lines=1)
    assert "1 more lines" in html
    assert "$1.400000" in html


def test_pdf_has_the_same_bytes_each_time(final: Invoice) -> None:
    first = invoice_pdf(final)
    assert first.startswith(b"%PDF-")
    assert invoice_pdf(final) == first


def test_printer_fetches_nothing() -> None:
    code = (
        "import django; django.setup()\n"
        "from billing.documents.printer import _printer\n"
        "fetcher = _printer().fetcher\n"
        "for url in ('http://127.0.0.1:9/x', 'file:///etc/passwd'):\n"
        "    try: fetcher.fetch(url)\n"
        "    except ValueError as error: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "portal.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["refused", "refused"], done.stderr


@pytest.mark.parametrize(
    ("micros", "text"), [(2_100_000, "$2.10/h"), (16_000, "$0.016/h"), (1, "$0.000001/h")]
)
def test_price_shows_all_its_places(micros: int, text: str) -> None:
    assert price(micros) == text


@pytest.mark.parametrize(
    ("us", "text"), [(0, "0"), (1_000_000_000, "1,000"), (61_234_567, "61.234567")]
)
def test_seconds_are_exact(us: int, text: str) -> None:
    assert exact_seconds(us) == text
