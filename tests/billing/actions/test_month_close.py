"""Months become invoices: complete, once, numbered without gaps, and for good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from accounts.actions.teams import create_team
from accounts.actor import Actor
from billing.actions.accounts import ensure_account
from billing.actions.drafts import ensure_draft
from billing.actions.faults import Fault
from billing.actions.ledger import post_entry
from billing.actions.lots import incoming_postings, open_lot
from billing.actions.metering import (
    Resource,
    Start,
    close_interval,
    open_intervals,
    rate_open_intervals,
)
from billing.actions.month_close import close_due_months, close_month
from billing.choices import (
    USAGE_KINDS,
    AccountCode,
    Collection,
    EntryKind,
    InvoiceStatus,
    LineKind,
    LotKind,
)
from billing.models import (
    BillingAccount,
    BillingProfile,
    CreditLot,
    Invoice,
    InvoiceLine,
    InvoiceSeries,
    InvoiceTax,
    Posting,
    Price,
    TaxRate,
)
from billing.queries.books import differences
from billing.queries.tax import REVERSE_CHARGE
from portal.lib import clock
from portal.lib.money import MICROS
from tests.billing.books import assert_books, assert_journal, balance
from tests.billing.conftest import START, Hands, Metered
from tests.conftest import fund, make_person

SYSTEM = Actor.system("tests")
MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
LATER_IN_JUNE = datetime(2026, 6, 3, tzinfo=UTC)


def run_an_hour(metered: Metered, resource_id: int = 1, at: datetime = START) -> None:
    metered(resource_id, at=at)
    close_interval("workload", resource_id, 1, ended_at=at + timedelta(hours=1))


def close(hands: Hands, now: datetime = LATER_IN_JUNE) -> int:
    hands.now = now
    return close_due_months()


def of_month(account: BillingAccount, month: datetime = MAY) -> Invoice:
    return Invoice.objects.get(account=account, period_start=month)


def pay_after(account: BillingAccount) -> None:
    """No credit, and an invoice at the end of the month."""
    BillingAccount.objects.filter(pk=account.pk).update(
        collection=Collection.POSTPAID, credit_limit_micros=1000 * MICROS
    )
    account.refresh_from_db()


@pytest.fixture
def no_credit(settings: Any, account: BillingAccount) -> None:
    """The team's credit has expired."""
    CreditLot.objects.filter(account=account).update(expires_at=START - timedelta(days=1))


def buy(account: BillingAccount, micros: int) -> None:
    """Credit that was paid for."""
    postings, rest = incoming_postings(
        account, source=AccountCode.PSP_CLEARING, kind=LotKind.PURCHASED, amount_micros=micros
    )
    entry = post_entry(
        kind=EntryKind.TOP_UP,
        idempotency_key=f"tests:bought:{account.pk}",
        effective_at=START,
        postings=postings,
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest)


@pytest.fixture
def german_vat(db: None, settings: Any) -> None:
    settings.SELLER_COUNTRY = "DE"
    TaxRate.objects.create(country="DE", name="VAT", rate_ppm=190_000, valid_during=(None, None))


def test_month_that_is_over_becomes_an_invoice(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    assert close(hands) == 1
    invoice = of_month(account)
    assert (invoice.status, invoice.reference) == (InvoiceStatus.PAID, "FG-000001")
    assert (invoice.net_micros, invoice.due_micros) == (2_100_000, 0)
    account.refresh_from_db()
    assert account.closed_until == JUNE
    assert_books(account)


def test_month_is_given_time_to_settle(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    assert close(hands, JUNE + timedelta(hours=1)) == 0
    assert close(hands, JUNE + timedelta(hours=3)) == 1


def test_month_that_goes_on_is_not_closed(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    with pytest.raises(ValueError, match="not over"):
        close_month([account.pk], MAY)


def test_closing_again_changes_nothing(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    close(hands)
    before = list(Invoice.objects.values())
    assert close(hands) == 0
    assert close_month([account.pk], MAY) == 0
    assert list(Invoice.objects.values()) == before


def test_account_without_use_gets_no_invoice_and_is_closed(
    account: BillingAccount, hands: Hands
) -> None:
    BillingAccount.objects.update(created_at=START)
    ensure_draft(account)
    assert close(hands) == 0
    assert not Invoice.objects.filter(period_start=MAY).exists()
    account.refresh_from_db()
    assert account.closed_until == JUNE


def test_months_that_were_left_are_closed_one_by_one(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    assert close(hands, JULY + timedelta(days=1)) == 2
    may, june = Invoice.objects.order_by("period_start")
    assert [may.reference, june.reference] == ["FG-000001", "FG-000002"]
    hours = (may.net_micros + june.net_micros) / 2_100_000
    assert hours == pytest.approx((JULY - START) / timedelta(hours=1))
    assert_books(account)


def test_open_run_is_cut_at_the_end_of_the_month(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close(hands)
    line = of_month(account).lines.get()
    assert (line.started_at, line.ended_at) == (START, JUNE)


def test_lines_of_a_month_are_what_it_earned(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(1)
    metered(2, quantity=3)
    close_interval("workload", 2, 1, ended_at=hands.forward(microseconds=987_654_321))
    close(hands)
    lines = of_month(account).lines.exclude(kind=LineKind.ROUNDING)
    earned = Posting.objects.filter(
        account__code=AccountCode.REVENUE_USAGE,
        entry__kind__in=USAGE_KINDS,
        entry__effective_at__gte=MAY,
        entry__effective_at__lt=JUNE,
    )
    total = lines.aggregate(total=Sum("amount_micros"))["total"]
    assert total == -earned.aggregate(total=Sum("amount_micros"))["total"]


def test_rounding_to_the_cent_is_a_line(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(seconds=1))
    close(hands)
    invoice = of_month(account)
    assert [line.amount_micros for line in invoice.lines.order_by("pk")] == [583, -583]
    assert invoice.net_micros == 0


def test_end_that_is_learned_late_corrects_the_next_invoice(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered()
    close(hands)
    told = JUNE - timedelta(hours=10)
    close_interval("workload", 1, 1, ended_at=told)
    assert close(hands, JULY + timedelta(days=1)) == 1
    line = of_month(account, JUNE).lines.get(kind=LineKind.ADJUSTMENT)
    assert (line.started_at, line.ended_at, line.amount_micros) == (JUNE, told, -21_000_000)
    assert_books(account)


def test_clock_that_is_set_back_into_a_closed_month_earns_in_the_next(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    close(hands)
    hands.now = JUNE - timedelta(minutes=10)
    fault = Fault("node_lost", "A node died")
    for number in (2, 3):
        metered(number, at=hands.now - timedelta(minutes=20))
        close_interval("workload", number, 1, ended_at=hands.now, fault=fault)
    metered(4, at=hands.now - timedelta(minutes=20))
    close_interval("workload", 4, 1, ended_at=hands.now)
    assert_books(account)
    close(hands, JULY + timedelta(days=1))
    assert of_month(account, JUNE).net_micros == 700_000
    assert list(differences()) == []


def test_credit_for_a_fault_is_a_line_that_says_why(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    metered(1)
    run_an_hour(metered, 2)
    close_interval(
        "workload", 1, 1, ended_at=hands.forward(hours=2), fault=Fault("node_lost", "A node died")
    )
    close(hands)
    invoice = of_month(account)
    line = invoice.lines.get(kind=LineKind.SERVICE)
    assert (line.amount_micros, line.label) == (-4_200_000, "A node died: 2 h 0 s are not billed.")
    assert invoice.net_micros == 2_100_000


def test_close_that_fails_takes_no_number(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    hands.now = LATER_IN_JUNE
    with transaction.atomic():
        close_month([account.pk], MAY)
        transaction.set_rollback(True)
    assert not Invoice.objects.exists()
    close_due_months()
    assert of_month(account).reference == "FG-000001"


@pytest.mark.django_db(transaction=True)
def test_two_closes_at_once_write_one_invoice(
    account: BillingAccount, metered: Metered, hands: Hands
) -> None:
    run_an_hour(metered)
    moment = LATER_IN_JUNE

    def other() -> int:
        try:
            with clock.use(lambda: moment):
                return close_month([account.pk], MAY)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(other) for _ in range(4)]
        assert sorted(each.result() for each in done) == [0, 0, 0, 1]
    assert InvoiceSeries.objects.get().next_number == 2
    assert InvoiceLine.objects.count() == 1


def test_statements_do_not_grow_with_teams(prices: Price, hands: Hands) -> None:
    accounts = [running_team(number, prices) for number in range(14)]
    rate_open_intervals(until=hands.forward(hours=1))
    hands.now = LATER_IN_JUNE

    def statements(some: list[BillingAccount]) -> int:
        with CaptureQueriesContext(connection) as found:
            assert close_month([account.pk for account in some], MAY) == len(some)
        return len(found)

    first = statements(accounts[:2])
    assert statements(accounts[2:]) <= first


def running_team(number: int, prices: Price) -> BillingAccount:
    """A team with credit and a run."""
    owner = make_person(f"p{number}@example.org")
    team = create_team(owner=owner, name=f"Team {number}")
    fund(team, 50 * MICROS)
    account = ensure_account(team)
    start = Start(
        account,
        sku_code=prices.sku.code,
        price=prices,
        resource=Resource("workload", number, 1, f"job_{number}", "train"),
        quantity=1,
        started_at=START,
    )
    open_intervals([start])
    return account


def test_prepaid_team_is_not_taxed_twice(
    account: BillingAccount, metered: Metered, hands: Hands, german_vat: None
) -> None:
    run_an_hour(metered)
    close(hands)
    tax = of_month(account).taxes.get()
    assert (tax.rate_ppm, tax.tax_micros) == (0, 0)
    assert tax.note == "Taxed when the credit was bought"


def test_tax_on_use_is_taken_from_credit(
    account: BillingAccount,
    metered: Metered,
    hands: Hands,
    german_vat: None,
    no_credit: None,
    settings: Any,
) -> None:
    settings.TAX_POINT = "usage"
    buy(account, 50 * MICROS)
    run_an_hour(metered)
    close(hands)
    invoice = of_month(account)
    assert (invoice.net_micros, invoice.tax_micros) == (2_100_000, 400_000)
    assert (invoice.credit_micros, invoice.due_micros) == (2_500_000, 0)
    assert -balance(account, AccountCode.CUSTOMER_CREDIT) == 50 * MICROS - 2_500_000
    assert_books(account)


def test_what_we_gave_is_a_discount_that_is_not_taxed(
    account: BillingAccount, metered: Metered, hands: Hands, german_vat: None, settings: Any
) -> None:
    settings.TAX_POINT = "usage"
    run_an_hour(metered)
    close(hands)
    tax = of_month(account).taxes.get()
    assert (tax.base_micros, tax.tax_micros) == (2_100_000, 0)
    assert tax.note == "Paid from credit we gave"


def test_team_that_pays_after_use_owes_net_and_tax(
    account: BillingAccount, metered: Metered, hands: Hands, german_vat: None, no_credit: None
) -> None:
    pay_after(account)
    metered()
    close_interval("workload", 1, 1, ended_at=hands.forward(seconds=4000))
    close(hands)
    invoice = of_month(account)
    # 2.10 x 4000 / 3600 = 2.333333, of which a third of a cent is rounded away; 19 % of 2.33.
    assert (invoice.net_micros, invoice.tax_micros) == (2_330_000, 440_000)
    assert (invoice.status, invoice.due_micros) == (InvoiceStatus.FINAL, 2_770_000)
    assert invoice.due_at == LATER_IN_JUNE + timedelta(days=14)
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 2_770_000
    assert balance_of_house(AccountCode.ROUNDING) == 3_333
    assert_journal(account)


def balance_of_house(code: AccountCode) -> int:
    return int(Posting.objects.filter(account__code=code).aggregate(s=Sum("amount_micros"))["s"])


def test_reverse_charge_is_said(
    account: BillingAccount, metered: Metered, hands: Hands, german_vat: None, no_credit: None
) -> None:
    pay_after(account)
    BillingProfile.objects.create(
        account=account,
        legal_name="Buyer",
        country="FR",
        is_business=True,
        tax_id_kind="eu_vat",
        tax_id="FR83404833048",
        tax_id_is_valid=True,
    )
    run_an_hour(metered)
    close(hands)
    tax = of_month(account).taxes.get()
    assert (tax.note, tax.tax_micros) == (REVERSE_CHARGE, 0)


def test_debt_of_the_next_month_is_not_on_this_invoice(
    account: BillingAccount, metered: Metered, hands: Hands, no_credit: None
) -> None:
    pay_after(account)
    metered(1, at=JUNE - timedelta(hours=1))
    close(hands, JUNE + timedelta(hours=3))
    assert of_month(account).due_micros == 2_100_000
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 4 * 2_100_000


@pytest.fixture
def final(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    run_an_hour(metered)
    close(hands)
    return of_month(account)


@pytest.mark.parametrize(
    "change", [{"net_micros": 1}, {"reference": "X"}, {"buyer": {}}, {"status": "draft"}]
)
def test_final_invoice_cannot_be_changed(final: Invoice, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Invoice.objects.filter(pk=final.pk).update(**change)


def test_final_invoice_cannot_be_deleted(final: Invoice) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Invoice.objects.filter(pk=final.pk)._raw_delete("default")


def test_final_invoice_takes_no_more_lines(final: Invoice) -> None:
    with pytest.raises(IntegrityError, match="takes no more"), transaction.atomic():
        InvoiceLine.objects.create(invoice=final, label="More", amount_micros=1)
    with pytest.raises(IntegrityError, match="takes no more"), transaction.atomic():
        InvoiceTax.objects.create(invoice=final, rate_ppm=1, base_micros=0, tax_micros=0)


def test_lines_of_an_invoice_stay(final: Invoice) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        InvoiceLine.objects.update(amount_micros=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        InvoiceLine.objects.all()._raw_delete("default")


def test_numbers_cannot_be_turned_back(final: Invoice) -> None:
    with pytest.raises(IntegrityError, match="only counts on"), transaction.atomic():
        InvoiceSeries.objects.update(next_number=1)


def test_invoice_that_does_not_add_up_gets_no_number(account: BillingAccount) -> None:
    draft = ensure_draft(account)
    series = InvoiceSeries.objects.create(prefix="X-")
    with pytest.raises(IntegrityError, match="lines"), transaction.atomic():
        Invoice.objects.filter(pk=draft.pk).update(
            status=InvoiceStatus.FINAL,
            series=series,
            number=1,
            reference="X-1",
            issued_at=START,
            net_micros=MICROS,
            total_micros=MICROS,
            credit_micros=MICROS,
        )


def test_tax_that_is_not_the_rate_is_refused(account: BillingAccount) -> None:
    draft = ensure_draft(account)
    with pytest.raises(IntegrityError, match="tax_of_base"), transaction.atomic():
        InvoiceTax.objects.create(
            invoice=draft, rate_ppm=190_000, base_micros=MICROS, tax_micros=180_000
        )


def test_invoices_are_not_truncated(final: Invoice) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE billing_invoice CASCADE")
