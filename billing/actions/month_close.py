"""Closes a month: what was rated becomes invoices that never change.

Some accounts at a time in one transaction each, in a number of statements that does not grow with
them. Killed anywhere, it goes on with the accounts that are still open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import DateTimeField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Least, Trunc

from billing.actions.accounts import lock_accounts
from billing.actions.ledger import EntryDraft, PostingDraft, post_entries
from billing.actions.lots import (
    Share,
    credit_postings,
    open_lot,
    save_consumption,
    take,
    taking_postings,
    usable_lots_of,
)
from billing.actions.numbering import invoice_numbers
from billing.actions.rating import rate_open
from billing.choices import (
    AccountCode,
    Collection,
    EntryKind,
    InvoiceKind,
    InvoiceStatus,
    LineKind,
    LotKind,
    TaxPoint,
)
from billing.models import (
    BillingAccount,
    CreditLot,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    UsageInterval,
)
from billing.queries.invoice_lines import write_lines
from billing.queries.month_sums import MonthSums, month_sums
from billing.queries.parties import buyers, seller
from billing.queries.periods import period_of
from billing.queries.tax import TaxRule, tax_rules
from portal.lib import clock
from portal.lib.money import from_cents, to_cents
from portal.lib.rows import update_rows

TOGETHER = 500
# What ended in the last minutes of a month is told, and proofs of life come in, before its close.
# Later than this it is a correction on the next invoice.
SETTLE_TIME = timedelta(hours=2)
PAID_BEFORE = "Taxed when the credit was bought"
GIVEN = "Paid from credit we gave"


@dataclass(slots=True)
class Closing:
    """One invoice on its way: micro-units."""

    account: BillingAccount
    invoice: Invoice
    sums: MonthSums
    rule: TaxRule
    taxable_cents: int = 0
    tax_micros: int = 0
    untaxed_note: str = ""
    owed_tax_micros: int = 0

    @property
    def net_micros(self) -> int:
        """The lines, rounded to the cent once."""
        return from_cents(to_cents(self.sums.amount_micros))


def close_due_months() -> int:
    """Close every month that is over, of every account; returns the number of invoices."""
    boundary = period_of(clock.now() - SETTLE_TIME)[0]
    written = 0
    while True:
        found = _open_before(boundary)[:TOGETHER]
        if not found:
            return written
        month = found[0][1]
        written += close_month([key for key, first in found if first == month], month)


def _open_before(boundary: datetime) -> QuerySet[BillingAccount, tuple[int, datetime]]:
    """Accounts and their first month to close before `boundary`, the oldest month first.

    What was never closed begins with the account or, where that is older, with its first use.
    """
    used = UsageInterval.objects.filter(account=OuterRef("pk")).order_by("started_at")
    born = Least("created_at", Subquery(used.values("started_at")[:1]))
    first = Trunc(born, "month", output_field=DateTimeField(), tzinfo=UTC)
    accounts = BillingAccount.objects.annotate(open_from=Coalesce("closed_until", first))
    late = accounts.filter(open_from__lt=boundary).order_by("open_from", "pk")
    return late.values_list("pk", "open_from")


@transaction.atomic
def close_month(account_ids: Sequence[int], month: datetime) -> int:
    """Close the month that begins at `month` for these accounts; returns the number of invoices.

    Raises ValueError while the month goes on. Accounts that another has closed meanwhile stay.
    """
    start, end = period_of(month)
    now = clock.now()
    if now < end:
        raise ValueError(f"{start:%B %Y} is not over")
    accounts = [
        account
        for account in lock_accounts(account_ids)
        if account.closed_until is None or account.closed_until < end
    ]
    if not accounts:
        return 0
    rate_open(accounts, now)
    _ensure_drafts(accounts, start, end)
    write_lines(accounts, start)
    closings = _closings(accounts, start, end)
    _add_taxes(closings)
    _round(closings)
    _post(closings, now)
    _finalise(closings, now)
    for account in accounts:
        account.closed_until = end
    update_rows(accounts, ["closed_until"])
    return len(closings)


_DRAFTS = """
SELECT a.id, a.currency FROM billing_billingaccount a
WHERE a.id = ANY(%(accounts)s) AND (
    EXISTS (SELECT 1 FROM billing_ratedusage r WHERE r.account_id = a.id
        AND r.period_start = %(month)s AND r.segment_end <> r.segment_start)
    OR EXISTS (SELECT 1 FROM billing_usagecredit c WHERE c.account_id = a.id
        AND c.period_start = %(month)s))
ORDER BY a.id
"""


def _ensure_drafts(accounts: Sequence[BillingAccount], start: datetime, end: datetime) -> None:
    """A draft for each account that has something to say of the month; the others get none."""
    values: dict[str, list[int] | datetime] = {
        "accounts": [account.pk for account in accounts],
        "month": start,
    }
    with connection.cursor() as cursor:
        cursor.execute(_DRAFTS, values)
        used = dict(cursor.fetchall())
    drafts = Invoice.objects.filter(
        account__in=accounts, period_start=start, status=InvoiceStatus.DRAFT
    )
    known = set(drafts.values_list("account_id", flat=True))
    drafts.exclude(account__in=used).delete()
    Invoice.objects.bulk_create(
        Invoice(account_id=key, period_start=start, period_end=end, currency=currency)
        for key, currency in used.items()
        if key not in known
    )


def _closings(accounts: Sequence[BillingAccount], start: datetime, end: datetime) -> list[Closing]:
    by_id = {account.pk: account for account in accounts}
    sums = month_sums(list(by_id), start, end)
    # Tax is that of the supply's end: the last instant of the month.
    rules = tax_rules(list(by_id), at=end - timedelta(microseconds=1))
    drafts = Invoice.objects.filter(
        account__in=accounts,
        kind=InvoiceKind.USAGE,
        period_start=start,
        status=InvoiceStatus.DRAFT,
    )
    return [
        Closing(
            account=by_id[invoice.account_id],
            invoice=invoice,
            sums=sums[invoice.account_id],
            rule=rules[invoice.account_id],
        )
        for invoice in drafts.order_by("account_id")
    ]


def _add_taxes(closings: Sequence[Closing]) -> None:
    """What is taxed of each invoice, by `TAX_POINT` and by how the account pays."""
    for closing in closings:
        net, sums = to_cents(closing.net_micros), closing.sums
        if settings.TAX_POINT == TaxPoint.USAGE:
            # What was given is a discount: it is in no taxable amount.
            taxable = net - to_cents(sums.given_micros)
            closing.untaxed_note = GIVEN
        elif closing.account.collection == Collection.POSTPAID:
            taxable = min(max(net, 0), to_cents(sums.debt_micros))
            closing.untaxed_note = PAID_BEFORE
        else:
            taxable, closing.untaxed_note = 0, PAID_BEFORE
        closing.taxable_cents = taxable
        closing.tax_micros = from_cents(closing.rule.cents_of(taxable))
    InvoiceTax.objects.bulk_create(row for closing in closings for row in _tax_rows(closing))


def _tax_rows(closing: Closing) -> list[InvoiceTax]:
    rest = closing.net_micros - from_cents(closing.taxable_cents)
    rows = []
    if closing.taxable_cents:
        rule = closing.rule
        rows.append(
            InvoiceTax(
                invoice=closing.invoice,
                name=rule.name,
                jurisdiction=rule.jurisdiction,
                rate_ppm=rule.rate_ppm,
                base_micros=from_cents(closing.taxable_cents),
                tax_micros=closing.tax_micros,
                note=rule.note,
            )
        )
    if rest or not rows:
        note = closing.untaxed_note
        rows.append(
            InvoiceTax(
                invoice=closing.invoice, rate_ppm=0, base_micros=rest, tax_micros=0, note=note
            )
        )
    return rows


def _round(closings: Sequence[Closing]) -> None:
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=closing.invoice,
            kind=LineKind.ROUNDING,
            label=LineKind.ROUNDING.label,
            amount_micros=closing.net_micros - closing.sums.amount_micros,
        )
        for closing in closings
        if closing.net_micros != closing.sums.amount_micros
    )


@dataclass(frozen=True, slots=True)
class Deed:
    """An entry about to be posted, what it takes out of lots and what it opens a new one with."""

    account: BillingAccount
    draft: EntryDraft
    shares: Sequence[Share] = ()
    opens_micros: int = 0


def _post(closings: Sequence[Closing], now: datetime) -> None:
    """Tax on usage, from credit first; what a team owes by invoice is rounded to the cent."""
    taxed = [closing.account.pk for closing in closings if closing.tax_micros > 0]
    lots = usable_lots_of(taxed, at=now)
    deeds: list[Deed] = []
    for closing in closings:
        if closing.tax_micros:
            deeds.append(_tax(closing, lots.get(closing.account.pk, []), now))
        if off := _off_cents(closing):
            deeds.append(_rounding(closing, off, now))
    entries = post_entries([deed.draft for deed in deeds])
    save_consumption([(entry, deed.shares) for entry, deed in zip(entries, deeds, strict=True)])
    for entry, deed in zip(entries, deeds, strict=True):
        open_lot(deed.account, entry, kind=LotKind.PURCHASED, amount_micros=deed.opens_micros)


def _tax(closing: Closing, lots: Sequence[CreditLot], now: datetime) -> Deed:
    """Tax is taken like usage; where credits outweigh the usage, tax goes back."""
    account = closing.account
    tax = PostingDraft(AccountCode.TAX_PAYABLE, -closing.tax_micros, account.currency)
    if closing.tax_micros < 0:
        legs, opens = credit_postings(
            account, kind=LotKind.PURCHASED, amount_micros=-closing.tax_micros
        )
        draft = _entry(EntryKind.TAX, closing, now, (*legs, tax))
        return Deed(account, draft, opens_micros=opens)
    shares, closing.owed_tax_micros = take(lots, closing.tax_micros)
    legs = taking_postings(account, shares, closing.owed_tax_micros)
    return Deed(account, _entry(EntryKind.TAX, closing, now, (*legs, tax)), shares)


def _rounding(closing: Closing, off_micros: int, now: datetime) -> Deed:
    account = closing.account
    legs = (
        PostingDraft(AccountCode.ACCOUNTS_RECEIVABLE, off_micros, account.currency, account.pk),
        PostingDraft(AccountCode.ROUNDING, -off_micros, account.currency),
    )
    return Deed(account, _entry(EntryKind.ROUNDING, closing, now, legs))


def _entry(
    kind: EntryKind, closing: Closing, now: datetime, postings: Sequence[PostingDraft]
) -> EntryDraft:
    return EntryDraft(
        kind=kind,
        idempotency_key=f"{kind.value}:{closing.invoice.public_id}",
        effective_at=now,
        postings=tuple(postings),
        memo=f"{kind.label}, {closing.invoice.period_start:%B %Y}",
    )


def _owed(closing: Closing) -> int:
    """What no credit covers of the invoice, exact: the newest debt is paid last."""
    sums = closing.sums
    debt = max(0, min(sums.receivable_micros - sums.later_debt_micros, sums.debt_micros))
    return debt + closing.owed_tax_micros


def _off_cents(closing: Closing) -> int:
    """How far the debt of a team that pays by invoice is from whole cents."""
    if closing.account.collection != Collection.POSTPAID:
        return 0
    return from_cents(to_cents(_owed(closing))) - _owed(closing)


def _finalise(closings: Sequence[Closing], now: datetime) -> None:
    the_seller = seller()
    the_buyers: Mapping[int, object] = buyers([closing.account.pk for closing in closings])
    due_at = now + timedelta(days=settings.INVOICE_DUE_DAYS)
    numbers = invoice_numbers(len(closings))
    for offset, closing in enumerate(closings):
        invoice = closing.invoice
        invoice.series, invoice.number = numbers.series, numbers.first + offset
        invoice.reference = numbers.reference(offset)
        invoice.issued_at, invoice.tax_point = now, settings.TAX_POINT
        invoice.seller, invoice.buyer = the_seller, the_buyers[closing.account.pk]
        invoice.net_micros, invoice.tax_micros = closing.net_micros, closing.tax_micros
        invoice.total_micros = invoice.net_micros + invoice.tax_micros
        due = min(from_cents(to_cents(_owed(closing))), max(0, invoice.total_micros))
        invoice.due_micros, invoice.credit_micros = due, invoice.total_micros - due
        invoice.status = InvoiceStatus.FINAL if due else InvoiceStatus.PAID
        invoice.due_at, invoice.paid_at = (due_at, None) if due else (None, now)
    update_rows([closing.invoice for closing in closings], _WRITTEN)


_WRITTEN = (
    "series", "number", "reference", "issued_at", "tax_point", "seller", "buyer", "net_micros",
    "tax_micros", "total_micros", "due_micros", "credit_micros", "status", "due_at", "paid_at",
)  # fmt: skip
