"""Draft invoices and their PDF."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from billing.actions.invoices import refresh_draft, refresh_drafts
from billing.actions.metering import close_interval, rate_open_intervals
from billing.choices import InvoiceStatus
from billing.documents.invoice import invoice_facts, invoice_html, invoice_pdf
from billing.documents.words import exact_seconds, price
from billing.models import BillingAccount, Invoice
from tests.billing.conftest import Hands, Metered


@pytest.fixture
def draft(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    metered(1)
    metered(2, quantity=2)
    close_interval("workload", 1, 1, ended_at=hands.forward(minutes=10))
    rate_open_intervals(until=hands.forward(minutes=10))
    return refresh_draft(account, at=hands.now)


def test_draft_is_the_sum_of_what_was_posted(draft: Invoice) -> None:
    assert draft.total_micros == 350_000 + 1_400_000
    assert sum(line.amount_micros for line in draft.lines.all()) == draft.total_micros


def test_refreshing_follows_usage(draft: Invoice, account: BillingAccount, hands: Hands) -> None:
    close_interval("workload", 2, 1, ended_at=hands.forward(minutes=10))
    again = refresh_draft(account, at=hands.now)
    assert (again.pk, again.total_micros) == (draft.pk, 350_000 + 2_100_000)
    assert again.lines.count() == 2


def test_give_back_lowers_the_draft(draft: Invoice, account: BillingAccount, hands: Hands) -> None:
    close_interval("workload", 2, 1, ended_at=datetime(2026, 5, 4, 10, 5, tzinfo=UTC))
    assert refresh_draft(account, at=hands.now).total_micros == 350_000 + 350_000


def test_final_invoice_is_left_alone(draft: Invoice, account: BillingAccount, hands: Hands) -> None:
    Invoice.objects.update(status=InvoiceStatus.FINAL)
    close_interval("workload", 2, 1, ended_at=hands.forward(minutes=10))
    assert refresh_draft(account, at=hands.now).total_micros == draft.total_micros


def test_sweep_refreshes_each_account_with_usage(draft: Invoice, hands: Hands) -> None:
    assert refresh_drafts(at=hands.now) == 1
    assert refresh_drafts(at=datetime(2027, 1, 1, tzinfo=UTC)) == 0


def test_document_shows_the_sum_behind_each_amount(draft: Invoice) -> None:
    row = invoice_facts(draft).rows[1]
    assert (row.quantity, row.price_text, row.time_text) == (2, "$2.10/h", "1,200")
    assert row.amount_text == "$1.400000"
    assert "$1.75" in invoice_html(draft)


def test_markup_in_a_name_is_text(draft: Invoice) -> None:
    line = draft.lines.select_related("interval").first()
    assert line is not None
    line.interval.resource_label = "<img src=http://127.0.0.1:9/x>"
    line.interval.save()
    assert "&lt;img" in invoice_html(draft)


def test_pdf_has_the_same_bytes_each_time(draft: Invoice) -> None:
    first = invoice_pdf(draft)
    assert first.startswith(b"%PDF-")
    assert invoice_pdf(draft) == first


def test_printer_fetches_nothing() -> None:
    code = (
        "import django; django.setup()\n"
        "from billing.documents.invoice import _printer\n"
        "weasyprint, fetcher = _printer()\n"
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
