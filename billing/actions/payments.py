"""Turns a paid checkout into credit, once, whoever asks and however often."""

from __future__ import annotations

from django.db import transaction

from billing.actions.accounts import lock_account
from billing.actions.ledger import post_entry
from billing.actions.lots import incoming_postings, open_lot
from billing.choices import AccountCode, EntryKind, LotKind, PaymentStatus
from billing.gateways.stripe import CheckoutSession, gateway
from billing.models import BillingAccount, Payment
from portal.lib import clock
from portal.lib.errors import Conflict, NotFound
from portal.lib.money import to_cents

OPEN = (PaymentStatus.DRAFT, PaymentStatus.SUBMITTED)


def settle_payment(session_id: str) -> Payment:
    """Apply what Stripe says of a Checkout Session now; the caller's word for it counts nothing.

    Called by the webhook and by the return page. Raises NotFound when neither Stripe nor we know
    the session, Conflict when the amount is not ours, Unavailable when Stripe does not answer.
    """
    session = gateway().fetch_session(session_id)
    with transaction.atomic():
        return _apply(session)


def _apply(session: CheckoutSession) -> Payment:
    found = Payment.objects.filter(public_id=session.reference).first()
    if found is None:
        raise NotFound(f"No payment of ours has the reference {session.reference!r}.")
    account = lock_account(found.account_id)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=found.pk)
    if payment.status == PaymentStatus.SUCCEEDED:
        return payment
    _check(payment, session)
    payment.checkout_session_id = session.id
    if session.is_paid:
        _credit(account, payment, session)
    elif session.is_expired:
        payment.status = PaymentStatus.CANCELED
        payment.settled_at = clock.now()
    elif payment.status == PaymentStatus.DRAFT:
        payment.status = PaymentStatus.SUBMITTED
    payment.save()
    return payment


def _check(payment: Payment, session: CheckoutSession) -> None:
    expected = (to_cents(payment.amount_micros), payment.currency)
    if (session.amount_cents, session.currency) != expected:
        raise Conflict(
            f"Stripe has {session.amount_cents} {session.currency} for {payment.public_id}, "
            f"we asked for {expected[0]} {expected[1]}."
        )
    if payment.checkout_session_id not in {None, session.id}:
        raise Conflict(f"{payment.public_id} was paid through another session.")


def _credit(account: BillingAccount, payment: Payment, session: CheckoutSession) -> None:
    if session.payment_intent_id is None:
        raise Conflict(f"The session of {payment.public_id} is paid without a payment.")
    postings, rest = incoming_postings(
        account,
        source=AccountCode.PSP_CLEARING,
        kind=LotKind.PURCHASED,
        amount_micros=payment.amount_micros,
    )
    entry = post_entry(
        kind=EntryKind.TOP_UP,
        idempotency_key=f"top_up:{session.payment_intent_id}",
        effective_at=clock.now(),
        postings=postings,
        memo=payment.public_id,
    )
    open_lot(account, entry, kind=LotKind.PURCHASED, amount_micros=rest)
    payment.status = PaymentStatus.SUCCEEDED
    payment.entry = entry
    payment.payment_intent_id = session.payment_intent_id
    payment.settled_at = clock.now()
    if account.stripe_customer_id is None and session.customer_id:
        BillingAccount.objects.filter(pk=account.pk).update(stripe_customer_id=session.customer_id)
