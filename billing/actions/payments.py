"""Turns what Stripe says of a payment into credit, once, whoever asks and however often."""

from __future__ import annotations

import uuid

from django.db import transaction

from billing.actions.accounts import lock_account
from billing.actions.auto_pause import pause_after
from billing.actions.ledger import PostingDraft, post_entry
from billing.actions.lots import incoming_postings, open_lot
from billing.actions.paid_invoices import mark_paid
from billing.choices import AccountCode, EntryKind, LotKind, PaymentPurpose, PaymentStatus
from billing.gateways.checkout import fetch_payment_session
from billing.gateways.facts import PaymentFacts
from billing.gateways.intents import fetch_intent
from billing.models import BillingAccount, Invoice, Payment, PaymentMethod
from portal.lib import clock
from portal.lib.errors import Conflict, NotFound
from portal.lib.money import from_cents, to_cents
from portal.lib.states import Transitions

# Money that arrives is credited even where the payment had been given up.
MOVES: Transitions[PaymentStatus] = Transitions(
    {
        PaymentStatus.DRAFT: frozenset(PaymentStatus) - {PaymentStatus.DRAFT},
        PaymentStatus.SUBMITTED: frozenset(PaymentStatus)
        - {PaymentStatus.DRAFT, PaymentStatus.SUBMITTED},
        PaymentStatus.REQUIRES_ACTION: frozenset(
            {
                PaymentStatus.PROCESSING,
                PaymentStatus.SUCCEEDED,
                PaymentStatus.FAILED,
                PaymentStatus.CANCELED,
            }
        ),
        PaymentStatus.PROCESSING: frozenset(
            {
                PaymentStatus.REQUIRES_ACTION,
                PaymentStatus.SUCCEEDED,
                PaymentStatus.FAILED,
                PaymentStatus.CANCELED,
            }
        ),
        PaymentStatus.FAILED: frozenset({PaymentStatus.SUCCEEDED}),
        PaymentStatus.CANCELED: frozenset({PaymentStatus.SUCCEEDED}),
        PaymentStatus.SUCCEEDED: frozenset(),
    }
)
_KIND = {
    PaymentPurpose.TOP_UP: EntryKind.TOP_UP,
    PaymentPurpose.AUTO_TOP_UP: EntryKind.TOP_UP,
    PaymentPurpose.INVOICE: EntryKind.INVOICE_PAYMENT,
}


def new_payment(
    account: BillingAccount,
    *,
    purpose: PaymentPurpose,
    net_cents: int,
    tax_cents: int = 0,
    card: PaymentMethod | None = None,
    invoice: Invoice | None = None,
) -> Payment:
    """The intent to pay, with the key it goes to Stripe under. Commit it before the call."""
    return Payment.objects.create(
        account=account,
        purpose=purpose,
        invoice=invoice,
        card=card,
        amount_micros=from_cents(net_cents + tax_cents),
        net_micros=from_cents(net_cents),
        tax_micros=from_cents(tax_cents),
        currency=account.currency,
        idempotency_key=f"{purpose.value}-{uuid.uuid4()}",
    )


def settle_session(session_id: str) -> Payment:
    """`settle_payment` with what Stripe says of a Checkout Session now."""
    return settle_payment(fetch_payment_session(session_id))


def settle_intent(intent_id: str) -> Payment:
    """`settle_payment` with what Stripe says of a PaymentIntent now."""
    return settle_payment(fetch_intent(intent_id))


@transaction.atomic
def settle_payment(facts: PaymentFacts) -> Payment:
    """Apply what Stripe says of a payment: the one way to credit, for whoever has asked Stripe.

    Called after webhooks, by return pages, by the charge itself and by reconciliation. Raises
    NotFound when the payment is not ours, Conflict when the amount is not what we asked for.
    """
    found = Payment.objects.filter(public_id=facts.reference).first()
    if found is None:
        raise NotFound(f"No payment of ours has the reference {facts.reference!r}.")
    account = lock_account(found.account_id)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=found.pk)
    _check(payment, facts)
    payment.checkout_session_id = payment.checkout_session_id or facts.session_id
    payment.payment_intent_id = payment.payment_intent_id or facts.intent_id
    target = _target(payment, facts)
    if MOVES.may(PaymentStatus(payment.status), target):
        _move(account, payment, target, facts)
    payment.save()
    return payment


@transaction.atomic
def give_up(payment: Payment, *, code: str, message: str) -> Payment:
    """Note that a payment was refused before Stripe made anything of it."""
    account = lock_account(payment.account_id)
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if MOVES.may(PaymentStatus(locked.status), PaymentStatus.FAILED):
        locked.status = PaymentStatus.FAILED
        locked.failure_code, locked.failure_message = code[:60], message[:300]
        locked.settled_at = clock.now()
        locked.save()
        pause_after(account, locked)
    return locked


def _target(payment: Payment, facts: PaymentFacts) -> PaymentStatus:
    on_their_page = payment.card_id is None
    if on_their_page and facts.status in {PaymentStatus.FAILED, PaymentStatus.REQUIRES_ACTION}:
        return PaymentStatus.SUBMITTED  # the payer is told on the page and may try again there
    return facts.status


def _move(
    account: BillingAccount, payment: Payment, target: PaymentStatus, facts: PaymentFacts
) -> None:
    payment.status = target
    payment.failure_code = facts.failure_code[:60]
    payment.failure_message = facts.failure_message[:300]
    if target == PaymentStatus.SUCCEEDED:
        _credit(account, payment, facts)
    if target in {PaymentStatus.SUCCEEDED, PaymentStatus.FAILED, PaymentStatus.CANCELED}:
        payment.settled_at = clock.now()
    pause_after(account, payment)


def _check(payment: Payment, facts: PaymentFacts) -> None:
    expected = (to_cents(payment.amount_micros), payment.currency)
    if (facts.amount_cents, facts.currency) != expected:
        raise Conflict(
            f"Stripe has {facts.amount_cents} {facts.currency} for {payment.public_id}, "
            f"we asked for {expected[0]} {expected[1]}."
        )
    for ours, theirs in (
        (payment.checkout_session_id, facts.session_id),
        (payment.payment_intent_id, facts.intent_id),
    ):
        if ours and theirs and ours != theirs:
            raise Conflict(f"{payment.public_id} was paid through {ours}, not through {theirs}.")


def _credit(account: BillingAccount, payment: Payment, facts: PaymentFacts) -> None:
    if facts.intent_id is None:
        raise Conflict(f"{payment.public_id} is paid without a payment at Stripe.")
    postings, rest = incoming_postings(
        account,
        source=AccountCode.PSP_CLEARING,
        kind=LotKind.PURCHASED,
        amount_micros=payment.net_micros,
    )
    entry = post_entry(
        kind=_KIND[PaymentPurpose(payment.purpose)],
        # Stripe's name for it: two payments of ours can never be credited for one of theirs.
        idempotency_key=f"top_up:{facts.intent_id}",
        effective_at=clock.now(),
        postings=[*postings, *_tax(payment)],
        memo=payment.public_id,
    )
    payment.entry = entry
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest, payment=payment)
    if rest < payment.net_micros:
        mark_paid([account.pk])


def _tax(payment: Payment) -> list[PostingDraft]:
    """The tax the payer paid on top: not theirs to use, not ours to keep."""
    if payment.tax_micros == 0:
        return []
    return [
        PostingDraft(AccountCode.PSP_CLEARING, payment.tax_micros, payment.currency),
        PostingDraft(AccountCode.TAX_PAYABLE, -payment.tax_micros, payment.currency),
    ]
