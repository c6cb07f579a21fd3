"""What is taken back of an invoice, within what it has (I12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.credit_notes import issue_credit_note, whole_invoice
from billing.actions.drafts import ensure_draft
from billing.actions.faults import Fault
from billing.actions.metering import close_interval, rate_open_intervals
from billing.actions.month_close import close_due_months
from billing.choices import AccountCode, Collection, LotKind
from billing.models import BillingAccount, CreditLot, CreditNote, CreditNoteLine, Invoice, TaxRate
from billing.queries.funds import funds_of
from portal.lib.errors import InvalidInput, NotAllowed, NotFound
from portal.lib.money import MICROS
from tests.billing.actions.ledger import commit
from tests.billing.actions.lots import add_lot
from tests.billing.books import assert_journal, balance
from tests.billing.conftest import START, Hands, Metered


@pytest.fixture
def invoice(account: BillingAccount, metered: Metered, hands: Hands) -> Invoice:
    """$21.000583: ten hours and a second."""
    metered(1)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=10, seconds=1))
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    return Invoice.objects.get()


@pytest.fixture
def staff(dora: User, team: Team) -> Actor:
    return Actor.staff(dora, team=team, reason="books")


def first_line(invoice: Invoice) -> int:
    return invoice.lines.order_by("pk")[0].pk


def test_part_of_a_line_becomes_credit(invoice: Invoice, staff: Actor) -> None:
    before = funds_of(invoice.account).balance_micros
    note = issue_credit_note(
        staff, invoice.public_id, {first_line(invoice): 5_000_000}, reason="Slow disks"
    )
    assert (note.reference, note.total_micros) == ("FG-CN-000001", 5_000_000)
    assert funds_of(invoice.account).balance_micros == before + 5_000_000
    assert_journal(invoice.account)


def test_whole_invoice_is_taken_back_to_the_cent(invoice: Invoice, staff: Actor) -> None:
    note = issue_credit_note(staff, invoice.public_id, whole_invoice(invoice), reason="All of it")
    assert note.total_micros == invoice.total_micros == 21 * MICROS
    assert whole_invoice(invoice) == {}


def test_tax_goes_back_with_it(
    account: BillingAccount, metered: Metered, hands: Hands, staff: Actor, settings: Any
) -> None:
    settings.SELLER_COUNTRY = "DE"
    TaxRate.objects.create(country="DE", name="VAT", rate_ppm=190_000, valid_during=(None, None))
    CreditLot.objects.update(expires_at=START - timedelta(days=1))
    BillingAccount.objects.update(collection=Collection.POSTPAID)
    metered(1)
    close_interval("workload", 1, 1, ended_at=START + timedelta(hours=10))
    hands.now = datetime(2026, 6, 2, tzinfo=UTC)
    close_due_months()
    invoice = Invoice.objects.get()
    line = first_line(invoice)
    first = issue_credit_note(staff, invoice.public_id, {line: 7_000_000}, reason="A third")
    second = issue_credit_note(staff, invoice.public_id, {line: 14_000_000}, reason="The rest")
    assert first.tax_micros + second.tax_micros == invoice.tax_micros == 3_990_000
    assert balance(account, AccountCode.ACCOUNTS_RECEIVABLE) == 0
    assert balance(account, AccountCode.CUSTOMER_CREDIT) == 0


def test_invoice_that_gives_tax_back_can_be_taken_back_too(
    account: BillingAccount, metered: Metered, hands: Hands, staff: Actor, settings: Any
) -> None:
    settings.SELLER_COUNTRY, settings.TAX_POINT = "DE", "usage"
    TaxRate.objects.create(country="DE", name="VAT", rate_ppm=190_000, valid_during=(None, None))
    june = datetime(2026, 6, 1, tzinfo=UTC)
    CreditLot.objects.update(expires_at=START)
    add_lot(account, LotKind.PURCHASED, 25 * MICROS)
    metered(1, at=june - timedelta(hours=4))
    hands.now = june + timedelta(hours=3)
    rate_open_intervals(until=june)
    close_due_months()
    CreditLot.objects.update(expires_at=None)
    fault = Fault("node_lost", "A node died")
    close_interval("workload", 1, 1, ended_at=june, fault=fault)
    metered(2, at=june)
    close_interval("workload", 2, 1, ended_at=june + timedelta(hours=5))
    hands.now = june + timedelta(days=31)
    close_due_months()
    invoice = Invoice.objects.latest("pk")
    assert (invoice.net_micros, invoice.tax_micros) == (2_100_000, -1_600_000)
    commit(
        lambda: issue_credit_note(staff, invoice.public_id, whole_invoice(invoice), reason="All")
    )
    assert CreditNote.objects.get().total_micros == 2_100_000


@pytest.mark.parametrize("micros", [0, -1_000_000, 22_000_000, 9 * 10**18, 1_000_001])
def test_more_than_a_line_has_or_part_of_a_cent_is_refused(
    invoice: Invoice, staff: Actor, micros: int
) -> None:
    with pytest.raises(InvalidInput):
        issue_credit_note(staff, invoice.public_id, {first_line(invoice): micros}, reason="No")
    assert not CreditNote.objects.exists()


def test_line_of_another_invoice_is_refused(invoice: Invoice, staff: Actor) -> None:
    with pytest.raises(InvalidInput, match="not one of this invoice"):
        issue_credit_note(staff, invoice.public_id, {10**9: 10_000}, reason="No")


def test_two_notes_stay_within_the_line(invoice: Invoice, staff: Actor) -> None:
    line = first_line(invoice)
    issue_credit_note(staff, invoice.public_id, {line: 15_000_000}, reason="First")
    with pytest.raises(InvalidInput, match=r"\$6\.000583 can be taken back"):
        issue_credit_note(staff, invoice.public_id, {line: 7_000_000}, reason="Second")


def test_draft_needs_no_note(account: BillingAccount, staff: Actor, hands: Hands) -> None:
    draft = ensure_draft(account)
    with pytest.raises(InvalidInput, match="draft"):
        issue_credit_note(staff, draft.public_id, {1: 10_000}, reason="No")


def test_only_staff_issue_notes(invoice: Invoice, actor: Actor) -> None:
    with pytest.raises(NotAllowed):
        issue_credit_note(actor, invoice.public_id, {first_line(invoice): 10_000}, reason="Me")


def test_invoice_nobody_knows_is_not_found(staff: Actor, db: None) -> None:
    with pytest.raises(NotFound):
        issue_credit_note(staff, "inv_nothing", {1: 10_000}, reason="No")


def test_database_refuses_a_note_above_the_line(invoice: Invoice, staff: Actor) -> None:
    note = issue_credit_note(staff, invoice.public_id, whole_invoice(invoice), reason="All")
    twice = {
        field.attname: getattr(note, field.attname)
        for field in CreditNote._meta.concrete_fields
        if field.attname not in {"id", "public_id", "number", "entry_id"}
    }

    def write() -> None:
        again = CreditNote.objects.create(**twice, number=99, entry_id=grant.entry_id)
        CreditNoteLine.objects.create(
            credit_note=again, invoice_line_id=first_line(invoice), amount_micros=note.net_micros
        )
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    grant = CreditLot.objects.earliest("pk")
    with pytest.raises(IntegrityError, match="taken back"), transaction.atomic():
        write()


def test_note_stays_as_it_is(invoice: Invoice, staff: Actor) -> None:
    issue_credit_note(staff, invoice.public_id, whole_invoice(invoice), reason="All")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        CreditNote.objects.update(reason="Other")
