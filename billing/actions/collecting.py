"""Gets invoices paid: by the saved card of a team that pays after use, or by whatever comes in."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction

from accounts.access import require_staff
from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.auto_top_up import default_card
from billing.actions.charging import submit, write_request
from billing.actions.customers import ensure_customer
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.paid_invoices import mark_paid
from billing.actions.payments import new_payment
from billing.choices import AccountCode, Collection, EntryKind, InvoiceStatus, PaymentPurpose
from billing.models import Invoice, Payment
from billing.models.payment import IN_FLIGHT
from billing.queries.outstanding import outstanding
from portal.lib import clock
from portal.lib.errors import InvalidInput, NotFound, Unavailable
from portal.lib.money import to_cents

logger = logging.getLogger(__name__)
# A card that was declined is tried again on three more days; then it is for people.
LEAST_BETWEEN = timedelta(days=1)
MOST_TRIES = 4


def collect() -> int:
    """Note what was paid meanwhile and charge cards for the rest; returns how many were charged."""
    unpaid = Invoice.objects.filter(status=InvoiceStatus.FINAL)
    mark_paid(list(unpaid.values_list("account_id", flat=True).distinct()))
    later = unpaid.filter(account__collection=Collection.POSTPAID).order_by("period_start")
    charged = 0
    for key in list(later.values_list("pk", flat=True)):
        try:
            charged += charge_invoice(key) is not None
        except Unavailable as error:
            logger.warning("charging for invoice %s: %s", key, error.message)
    return charged


def charge_invoice(invoice_pk: int) -> Payment | None:
    """Charge the team's card for what an invoice still asks; None where it cannot be now.

    Raises Unavailable when Stripe does not answer: the payment stays in flight and is asked for
    again with the same key. Must not be called inside a transaction.
    """
    invoice = Invoice.objects.select_related("account").get(pk=invoice_pk)
    if default_card(invoice.account) is None:
        return None
    payment = _intend(invoice, ensure_customer(invoice.account))
    return submit(payment) if payment else None


@transaction.atomic
def _intend(invoice: Invoice, customer_id: str) -> Payment | None:
    """Decide under the account's lock, so that of any number of askers one charges."""
    account = lock_account(invoice.account_id)
    payments = Payment.objects.filter(invoice=invoice)
    recent = payments.filter(created_at__gt=clock.now() - LEAST_BETWEEN)
    cents = to_cents(outstanding([account.pk]).get(invoice.pk, 0))
    card = default_card(account)
    if (
        card is None
        or cents == 0
        or recent.exists()
        or payments.filter(status__in=IN_FLIGHT).exists()
        or payments.count() >= MOST_TRIES
    ):
        return None
    payment = new_payment(
        account, purpose=PaymentPurpose.INVOICE, net_cents=cents, card=card, invoice=invoice
    )
    write_request(payment, card, customer_id=customer_id)
    return payment


@transaction.atomic
def write_off(actor: Actor, invoice_id: str, *, why: str) -> Invoice:
    """Staff give up what is still owed on an invoice: it becomes bad debt."""
    require_staff(actor)
    if not why.strip() or len(why) > 300 or "\0" in why:
        raise InvalidInput.of(why="Say why it is given up, in at most 300 characters.")
    found = Invoice.objects.filter(public_id=invoice_id, status=InvoiceStatus.FINAL).first()
    if found is None:
        raise NotFound("There is no open invoice of this number.")
    account = lock_account(found.account_id)
    micros = outstanding([account.pk]).get(found.pk, 0)
    if micros:
        post_entry(
            kind=EntryKind.WRITE_OFF,
            idempotency_key=f"write_off:{found.public_id}",
            effective_at=clock.now(),
            postings=[
                PostingDraft(AccountCode.BAD_DEBT, micros, account.currency),
                PostingDraft(
                    AccountCode.ACCOUNTS_RECEIVABLE, -micros, account.currency, account.pk
                ),
            ],
            memo=f"{found.reference}: {why.strip()}"[:300],
        )
    Invoice.objects.filter(pk=found.pk, status=InvoiceStatus.FINAL).update(
        status=InvoiceStatus.UNCOLLECTIBLE
    )
    audit.record(
        actor,
        "invoice.written_off",
        team=account.team,
        object_id=found.public_id,
        amount_micros=micros,
        memo=why.strip(),
    )
    found.refresh_from_db()
    return found
