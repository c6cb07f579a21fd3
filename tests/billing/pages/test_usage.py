"""/billing/usage/: the chart's figures, the table, and why a run cost what it did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing.actions.faults import Fault
from billing.actions.metering import close_interval
from billing.models import BillingAccount, UsageInterval
from tests.billing.conftest import START, Hands, Metered

ClientOf = Callable[[User], Client]


def body(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_page_shows_the_chart_and_the_same_as_a_table(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered()
    hands.forward(hours=2)
    page = body(client_of(alice), "/billing/usage/?days=7&by=kind")
    assert '"dollars": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.2]' in page
    assert "$4.20" in page
    assert "/billing/usage/job_1/" in page


def test_page_of_a_new_team_is_empty(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    assert "Nothing was spent" in body(client_of(alice), "/billing/usage/")


def test_what_makes_no_sense_is_as_if_not_asked(
    alice: User, account: BillingAccount, client_of: ClientOf
) -> None:
    page = body(client_of(alice), "/billing/usage/?days=-1&by=colour&page=x")
    assert "Spent in 30 days" in page


def test_many_names_share_a_colour(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    for number in range(1, 12):
        metered(number)
        UsageInterval.objects.filter(resource_id=number).update(project=f"project {number}")
    hands.forward(hours=1)
    assert "4 others" in body(client_of(alice), "/billing/usage/?by=project")


def test_markup_in_a_project_is_text(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered()
    UsageInterval.objects.update(project="</script><script>alert(1)</script>")
    hands.forward(hours=1)
    assert "<script>alert(1)" not in body(client_of(alice), "/billing/usage/?by=project")


def test_run_is_explained_to_the_second(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    metered(1, quantity=2)
    close_interval(
        "workload", 1, 1,
        ended_at=START + timedelta(seconds=1000),
        fault=Fault("node_lost", "A node died"),
    )  # fmt: skip
    hands.forward(hours=1)
    metered(1, attempt=2, at=START + timedelta(seconds=1000))
    close_interval("workload", 1, 2, ended_at=START + timedelta(seconds=2001))
    page = body(client_of(alice), "/billing/usage/job_1/")
    assert "$2.10/h" in page
    assert "1,000 s" in page
    assert "A node died: 16 min 40 s are not billed." in page
    assert "4 May 2026 10:33:21" in page
    assert "cost $0.583916" in page


def test_run_of_others_is_not_found(
    charlie: User, account: BillingAccount, metered: Metered, client_of: ClientOf
) -> None:
    metered()
    assert client_of(charlie).get("/billing/usage/job_1/").status_code == 404


def test_queries_do_not_grow_with_runs(
    alice: User, account: BillingAccount, metered: Metered, hands: Hands, client_of: ClientOf
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            body(client, "/billing/usage/")
        return len(found)

    client = client_of(alice)
    metered(1)
    hands.forward(hours=1)
    body(client, "/billing/usage/")
    one = queries()
    for number in range(2, 9):
        metered(number)
    assert queries() == one
