"""Staff take back an invoice or part of it."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Sum

from accounts.access import require_staff
from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import credit_postings, open_lot
from billing.actions.numbering import credit_note_numbers
from billing.choices import AccountCode, EntryKind, InvoiceKind, LotKind
from billing.models import CreditNote, CreditNoteLine, Invoice
from portal.lib import clock
from portal.lib.errors import InvalidInput, NotFound
from portal.lib.money import MICROS_PER_CENT, format_money, from_cents, to_cents


def check_note(invoice: Invoice, amounts: Mapping[int, int]) -> None:
    """Raises InvalidInput where `amounts`, by line and in micro-units, are not to be had."""
    if invoice.is_draft:
        raise InvalidInput.of(invoice="A draft follows usage: there is nothing to take back yet.")
    if invoice.kind != InvoiceKind.USAGE:
        raise InvalidInput.of(invoice="A payment is taken back by refunding it.")
    if not amounts or sum(amounts.values()) <= 0:
        raise InvalidInput.of(amounts="Say how much is taken back, more than nothing.")
    if sum(amounts.values()) % MICROS_PER_CENT:
        raise InvalidInput.of(amounts="A credit note comes to whole cents.")
    lines = invoice.lines.filter(pk__in=amounts).annotate(
        credited=Sum("credit_note_lines__amount_micros", default=0)
    )
    found = {line.pk: line for line in lines}
    for key, micros in amounts.items():
        line = found.get(key)
        if line is None:
            raise InvalidInput.of(amounts=f"Line {key} is not one of this invoice.")
        left = line.amount_micros - line.credited
        if micros == 0 or micros * left < 0 or abs(micros) > abs(left):
            raise InvalidInput.of(
                amounts=f"Of {line.label!r} {format_money(left, digits=6)} can be taken back."
            )
    left_net = invoice.net_micros - _credited(invoice, "net_micros")
    if sum(amounts.values()) > left_net:
        raise InvalidInput.of(amounts=f"{format_money(left_net)} of the invoice is left.")


@transaction.atomic
def issue_credit_note(
    actor: Actor, invoice_id: str, amounts: Mapping[int, int], *, reason: str
) -> CreditNote:
    """Take back `amounts` of an invoice, micro-units by line, and the tax on them.

    What is owed gets less; the rest becomes credit. Only staff may. Raises InvalidInput beyond what
    is left of a line or of the invoice.
    """
    require_staff(actor)
    if not reason.strip() or len(reason) > 300 or "\0" in reason:
        raise InvalidInput.of(reason="Say why, in at most 300 characters.")
    found = Invoice.objects.filter(public_id=invoice_id).first()
    if found is None:
        raise NotFound("There is no such invoice.")
    account = lock_account(found.account_id)
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=found.pk)
    check_note(invoice, amounts)
    net = sum(amounts.values())
    tax = _tax_share(invoice, net)
    numbers = credit_note_numbers(1)
    legs, rest = credit_postings(account, kind=LotKind.PURCHASED, amount_micros=net + tax)
    revenue = [
        PostingDraft(AccountCode.REVENUE_USAGE, net, account.currency),
        PostingDraft(AccountCode.TAX_PAYABLE, tax, account.currency),
    ]
    entry = post_entry(
        kind=EntryKind.CREDIT_NOTE,
        idempotency_key=f"credit_note:{numbers.reference(0)}",
        effective_at=clock.now(),
        postings=[*(leg for leg in revenue if leg.amount_micros), *legs],
        memo=f"{numbers.reference(0)} to {invoice.reference}",
        actor=str(actor.user or actor.kind),
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest)
    note = CreditNote.objects.create(
        invoice=invoice,
        series=numbers.series,
        number=numbers.first,
        reference=numbers.reference(0),
        reason=reason.strip(),
        issued_at=clock.now(),
        net_micros=net,
        tax_micros=tax,
        total_micros=net + tax,
        seller=invoice.seller,
        buyer=invoice.buyer,
        entry=entry,
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(credit_note=note, invoice_line_id=key, amount_micros=micros)
        for key, micros in amounts.items()
    )
    audit.record(
        actor,
        "credit_note.issued",
        team=account.team,
        object_id=note.public_id,
        amount_micros=note.total_micros,
        memo=note.reason,
    )
    return note


def whole_invoice(invoice: Invoice) -> dict[int, int]:
    """What is left of every line: the amounts of a note that takes back all of it."""
    lines = invoice.lines.order_by("pk").annotate(
        credited=Sum("credit_note_lines__amount_micros", default=0)
    )
    left = {line.pk: line.amount_micros - line.credited for line in lines}
    return {key: micros for key, micros in left.items() if micros}


def spread(invoice: Invoice, net_micros: int) -> dict[int, int]:
    """`net_micros` over the lines in their order: the amounts of a note of part of an invoice.

    Raises InvalidInput where the lines have less left.
    """
    amounts: dict[int, int] = {}
    rest = net_micros
    for key, left in whole_invoice(invoice).items():
        part = min(rest, left) if left > 0 else 0
        if part:
            amounts[key] = part
            rest -= part
    if rest or not amounts:
        left = sum(max(0, micros) for micros in whole_invoice(invoice).values())
        raise InvalidInput.of(
            amount=f"Choose more than $0 and at most the {format_money(left)} that is left."
        )
    return amounts


def _tax_share(invoice: Invoice, net_micros: int) -> int:
    """The tax that goes back with `net_micros`, in whole cents: all of it with the last of it."""
    if invoice.net_micros == 0:
        return 0
    net_before = _credited(invoice, "net_micros")
    tax_before = _credited(invoice, "tax_micros")
    owed = invoice.tax_micros * (net_before + net_micros) // invoice.net_micros
    return from_cents(max(0, to_cents(owed - tax_before)))


def _credited(invoice: Invoice, column: str) -> int:
    return int(invoice.credit_notes.aggregate(total=Sum(column, default=0))["total"])
