"""Rules of time and of what staff do: ticks, months, credit notes, and hands in the books."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.actions.collecting import write_off
from billing.actions.credit_notes import issue_credit_note, spread, whole_invoice
from billing.actions.ladder import grace, overdue_accounts, watch_runway
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.metering import rate_open_intervals
from billing.actions.month_close import close_due_months
from billing.actions.paid_invoices import mark_paid
from billing.actions.receipts import document_payments
from billing.choices import (
    AccountCode,
    EntryKind,
    InvoiceKind,
    InvoiceStatus,
    PaymentStatus,
    RefundStatus,
)
from billing.models import Invoice, JournalEntry, Payment, Refund
from billing.queries.funds import funds_of
from billing.queries.outstanding import outstanding
from billing.queries.periods import period_of
from billing.queries.verify import mismatches
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.money import MICROS_PER_CENT, from_cents
from tests.billing.machine.base import numbers, refused, shares
from tests.billing.machine.work import HOUR_US, WorkRules

TICK = timedelta(seconds=60)
TAMPER = (
    "UPDATE billing_posting SET amount_micros = amount_micros + 1",
    "DELETE FROM billing_posting",
    "TRUNCATE billing_posting CASCADE",
    "UPDATE billing_journalentry SET effective_at = effective_at - interval '1 day'",
    "DELETE FROM billing_journalentry",
    "UPDATE billing_lotconsumption SET amount_micros = 1",
    "UPDATE billing_creditlot SET remaining_micros = amount_micros + 1",
    "UPDATE billing_ledgeraccount SET balance_micros = 1 WHERE code = 'promo_credit'",
    """INSERT INTO billing_posting (entry_id, account_id, amount_micros, currency)
    SELECT entry_id, account_id, 1, currency FROM billing_posting LIMIT 1""",
    "UPDATE billing_invoice SET total_micros = total_micros + 1",
    "UPDATE billing_invoice SET number = number + 1",
    "DELETE FROM billing_invoice",
    "UPDATE billing_invoiceline SET amount_micros = 0",
    "UPDATE billing_invoicetax SET rate_ppm = 0",
    "UPDATE billing_invoiceseries SET next_number = next_number - 1",
    """INSERT INTO billing_invoiceline (invoice_id, kind, label, sku_label, quantity, unit_micros,
        unit_hours, microseconds, amount_micros)
    SELECT id, 'usage', '', '', 1, 0, 1, 0, 1 FROM billing_invoice LIMIT 1""",
)


class TimeRules(WorkRules):
    """Time passes with the portal's sweeps or without, and sometimes backwards."""

    empty_since: datetime | None = None

    @rule()
    def tick(self) -> None:
        for _ in range(2):
            rate_open_intervals(until=self.model.now)
        self.model.tick()

    @rule(
        us=st.one_of(
            st.integers(1, HOUR_US),
            st.integers(HOUR_US, 20 * 24 * HOUR_US),
            st.integers(-HOUR_US, -1),
        )
    )
    def pass_time(self, us: int) -> None:
        """The portal is away for a moment or for days; or the clock was ahead and is set right."""
        self.forward(timedelta(microseconds=us))

    @rule(ticks=st.integers(1, 12), sees=st.booleans())
    def live(self, ticks: int, sees: bool) -> None:
        """The portal does its sweeps while time passes, and sees what runs or does not."""
        self._live(ticks, sees=sees)

    @rule(ticks=st.integers(0, 2), sees=st.booleans())
    @precondition(lambda self: timedelta(0) < self.runway() < timedelta(days=60))
    def live_through_the_end_of_credit(self, ticks: int, sees: bool) -> None:
        """It comes back `ticks` before nothing is left, and stays for longer than the grace."""
        self.forward(max(timedelta(0), self.runway() - ticks * TICK))
        self._live(grace() // TICK + ticks + 2, sees=sees)

    def runway(self) -> timedelta:
        """How long what is left lasts; nothing where nothing burns."""
        burn = self.model.burn()
        us = self.spendable() * HOUR_US // burn if burn else 0
        return timedelta(microseconds=min(us, 10**18))

    def spendable(self) -> int:
        """What work may go on with."""
        return self.balance() + self.model.credit_limit

    def sweep(self) -> None:
        """What a living portal does each tick, as far as money goes."""
        rate_open_intervals(until=self.model.now)
        self.model.tick()
        self.watch()
        for account in overdue_accounts(self.model.now):
            if funds_of(account).spendable_micros <= 0:
                for run in self.model.running():
                    self.end(run, late=0, is_ours=False, is_proven=True)

    def watch(self) -> None:
        """The ladder, which may ask the card; see `cards`."""
        watch_runway()

    def _live(self, ticks: int, *, sees: bool) -> None:
        """I19: no run outlives the end of credit, seen by a tick, by more than the grace.

        So the overdraft grows by no more than the burn of a tick and the grace. What ran unseen is
        not charged before it is seen: it counts as if it had been.
        """
        before, burn = min(0, self.spendable() - self.model.unseen()), self.model.burn()
        for _ in range(ticks):
            if sees:
                self.see_all()
            self.sweep()
            if self.spendable() > 0:
                self.empty_since = None
            elif self.empty_since is None:
                self.empty_since = self.model.now
            if self.empty_since is not None and self.model.now >= self.empty_since + grace():
                assert self.model.running() == []
            self.forward(TICK)
        most = burn * ((TICK + grace()) // TICK) * TICK // timedelta(hours=1) + 1
        assert self.spendable() >= before - most


class MonthRules(TimeRules):
    """Months are closed, documents written and taken back."""

    @rule()
    def close_months(self) -> None:
        """Twice: what is closed stays closed; each invoice is what the raw use comes to (I12)."""
        before = self.account.closed_until
        known = set(Invoice.objects.filter(kind=InvoiceKind.USAGE).values_list("pk", flat=True))
        if close_due_months():
            assert close_due_months() == 0
        self.account.refresh_from_db()
        if self.account.closed_until != before:
            self.model.tick()
        new = Invoice.objects.filter(kind=InvoiceKind.USAGE).exclude(pk__in=known)
        self.model.taxes += sum(new.values_list("tax_micros", flat=True))
        self._note_rounding()
        self._document()
        for invoice in Invoice.objects.exclude(status=InvoiceStatus.DRAFT):
            assert list(mismatches(invoice)) == []

    @rule(hours=st.integers(3, 10 * 24))
    @precondition(lambda self: self.model.runs)
    def see_the_month_out(self, hours: int) -> None:
        """To some hours into the next month, and its close."""
        month = period_of(self.model.now)[1]
        self.model.now = month + timedelta(hours=hours)
        self.close_months()

    @rule(which=numbers, share=shares)
    @precondition(lambda self: self.account.closed_until and _usage().exists())
    def take_back(self, which: int, share: int) -> None:
        """Staff issue a credit note for part of an invoice, or for all that is left of it."""
        invoice = self.pick(list(_usage().order_by("pk")), which)
        credited = sum(note.net_micros for note in invoice.credit_notes.all())
        left = (invoice.net_micros - credited) // MICROS_PER_CENT
        cents = left * share // 100
        if left <= 0:
            with refused(InvalidInput):
                issue_credit_note(
                    self.staff, invoice.public_id, whole_invoice(invoice), reason="All of it"
                )
        if cents <= 0:
            return
        part = share < 100
        amounts = spread(invoice, from_cents(cents)) if part else whole_invoice(invoice)
        note = issue_credit_note(self.staff, invoice.public_id, amounts, reason="Slow disks")
        assert note.net_micros == from_cents(cents)
        self.model.notes += note.total_micros
        self.model.note_taxes += note.tax_micros
        with refused(InvalidInput):
            over = {key: micros * 10**6 for key, micros in amounts.items()}
            issue_credit_note(self.staff, invoice.public_id, over, reason="More than all")

    @rule(which=numbers)
    @precondition(lambda self: self.account.closed_until and _open().exists())
    def give_up(self, which: int) -> None:
        """A debt is written off, unless it turns out to be paid."""
        mark_paid([self.account.pk])
        owed = outstanding([self.account.pk])
        assert all(owed.values())
        if not owed:
            return
        invoice = self.pick(list(_open().order_by("pk")), which)
        write_off(self.staff, invoice.public_id, why="Gone")
        self.model.given_up += owed[invoice.pk]

    @rule(statement=st.sampled_from(TAMPER), which=numbers, is_other=st.booleans())
    def meddle(self, statement: str, which: int, is_other: bool) -> None:
        """A hand in the books or in a document is refused (I2, I13).

        An earlier deed once more is the same entry, another deed under its key is refused (I4).
        """
        self._refuse(statement)
        entry = self.pick(list(JournalEntry.objects.order_by("pk")), which)
        if is_other:
            with refused(Conflict):
                _post_again(entry, 2)
        else:
            assert _post_again(entry, 1) == entry

    @staticmethod
    def _document() -> None:
        """Each payment gets one document, each refund one note."""
        document_payments()
        paid = Payment.objects.filter(status=PaymentStatus.SUCCEEDED)
        assert not paid.filter(document__isnull=True).exists()
        refunds = Refund.objects.filter(status=RefundStatus.SUCCEEDED)
        assert not refunds.filter(credit_note__isnull=True).exists()

    def _note_rounding(self) -> None:
        """Of teams that pay by invoice: less than a cent each, off what they owe."""
        entries = JournalEntry.objects.filter(kind=EntryKind.ROUNDING)
        total = 0
        for entry in entries:
            leg = entry.postings.get(account__code=AccountCode.ACCOUNTS_RECEIVABLE)
            assert abs(leg.amount_micros) <= MICROS_PER_CENT // 2
            total += leg.amount_micros
        assert self.model.credit_limit or not total
        self.model.rounded = total

    @staticmethod
    def _refuse(statement: str) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            try:
                with transaction.atomic():
                    cursor.execute(statement)
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    assert cursor.rowcount <= 0, "it was carried out"
            except DatabaseError:
                pass
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _post_again(entry: JournalEntry, times: int) -> JournalEntry:
    return post_entry(
        kind=EntryKind(entry.kind),
        idempotency_key=entry.idempotency_key,
        effective_at=clock.now(),
        postings=[
            PostingDraft(
                AccountCode(leg.account.code),
                leg.amount_micros * times,
                leg.currency,
                leg.account.account_id,
            )
            for leg in entry.postings.select_related("account")
        ],
        reverses=entry.reverses,
    )


def _usage() -> QuerySet[Invoice]:
    final = Invoice.objects.exclude(status=InvoiceStatus.DRAFT)
    return final.filter(kind=InvoiceKind.USAGE)


def _open() -> QuerySet[Invoice]:
    return _usage().filter(status=InvoiceStatus.FINAL)
