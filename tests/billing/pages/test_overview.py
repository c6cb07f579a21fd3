"""/billing/"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing.actions.drafts import ensure_draft
from billing.actions.metering import close_interval
from billing.models import BillingAccount
from tests.billing.conftest import START, Hands, Metered

ClientOf = Callable[[User], Client]


def test_new_team_is_told_what_to_do(alice: User, client_of: ClientOf) -> None:
    page = client_of(alice).get("/billing/").content.decode()
    assert "No credit yet" in page
    assert "Nothing used this month" in page


def test_four_facts_stand_together(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered(quantity=2)
    hands.forward(hours=1)
    page = client_of(alice).get("/billing/").content.decode()
    for words in ("Balance", "$45.80", "Burn", "$4.20/h", "Runway", "10 h", "Held", "$0.00"):
        assert words in page


def test_each_line_shows_its_sum(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered(quantity=2)
    hands.forward(minutes=2)
    close_interval("workload", 1, 1, ended_at=START + timedelta(seconds=61.25))
    page = " ".join(client_of(alice).get("/billing/").content.decode().split())
    times = "\N{MULTIPLICATION SIGN}"
    assert f"2 {times} $2.10/h {times} 61.25 s ÷ 3600 = <strong>$0.071458</strong>" in page


def test_refreshed_part_is_only_that_part(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    answer = client_of(alice).get("/billing/now/")
    assert "<html" not in answer.content.decode()
    assert answer.headers["Cache-Control"] == "no-store"


def test_other_teams_usage_is_not_shown(
    charlie: User, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered()
    hands.forward(minutes=1)
    assert "job_1" not in client_of(charlie).get("/billing/").content.decode()


def test_queries_do_not_grow_with_usage(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    client = client_of(alice)
    metered(1)
    hands.forward(minutes=1)
    client.get("/billing/")
    with CaptureQueriesContext(connection) as one:
        client.get("/billing/")
    for number in range(2, 40):
        metered(number)
    hands.forward(minutes=1)
    with CaptureQueriesContext(connection) as many:
        client.get("/billing/")
    assert len(many) == len(one)


def test_label_with_markup_is_text(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    interval = metered()
    interval.resource_label = "<script>alert(1)</script>"
    interval.save()
    hands.forward(minutes=1)
    assert "<script>alert" not in client_of(alice).get("/billing/").content.decode()


def test_invoice_page_and_pdf(
    alice: User,
    charlie: User,
    account: BillingAccount,
    metered: Metered,
    hands: Hands,
    client_of: ClientOf,
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(minutes=10))
    url = f"/billing/invoices/{ensure_draft(account).public_id}/"
    assert "$0.350000" in client_of(alice).get(url).content.decode()
    pdf = client_of(alice).get(f"{url}pdf/")
    assert pdf.headers["Content-Type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    for path in (url, f"{url}pdf/", "/billing/invoices/inv_nothing/"):
        assert client_of(charlie).get(path).status_code == 404


def test_strangers_are_sent_to_sign_in(db: None) -> None:
    for path in ("/billing/", "/billing/now/", "/billing/top-up/", "/billing/top-up/return/"):
        assert Client().get(path).status_code == 302
