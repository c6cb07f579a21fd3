"""Finds out what became of payments whose answer was lost: asks again, charges never twice."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from billing.actions.cards import settle_card_setup
from billing.actions.charging import submit
from billing.actions.payments import give_up, settle_intent, settle_payment, settle_session
from billing.actions.refunds import give_refund_up, settle_refund, submit_refund
from billing.choices import PaymentStatus, RefundStatus, SetupStatus
from billing.gateways.checkout import open_page
from billing.gateways.facts import PaymentFacts
from billing.gateways.intents import cancel_intent, find_intent
from billing.gateways.refunds import refunds_of
from billing.models import CardSetup, Payment, Refund
from billing.models.payment import IN_FLIGHT
from portal.lib import clock
from portal.lib.errors import PortalError

logger = logging.getLogger(__name__)
# A call in progress is left alone this long; it takes three tries of ten seconds at most.
LEAST_AGE = timedelta(minutes=1)
# Stripe keeps the answer to a key for 24 hours at least.
KEY_LIFE = timedelta(hours=23)
SEEN_EVERY = timedelta(hours=1)
BATCH = 200


def recover_payments() -> int:
    """Settle what is in flight and due for a look; returns how many payments were looked at.

    Nothing is worse for it if two do it at once. What fails is logged and tried again.
    """
    now = clock.now()
    in_flight = Payment.objects.filter(status__in=IN_FLIGHT, created_at__lte=now - LEAST_AGE)
    due = [found for found in in_flight.order_by("pk") if _is_due(found, now)][:BATCH]
    for payment in due:
        Payment.objects.filter(pk=payment.pk).update(looked_at=now)
        try:
            recover_payment(payment)
        except PortalError as error:
            logger.warning("%s is still in flight: %s", payment.public_id, error.message)
    return len(due)


def recover_payment(payment: Payment) -> Payment:
    """Ask Stripe what became of one payment. Raises Unavailable when it does not answer."""
    if payment.status == PaymentStatus.REQUIRES_ACTION:
        return _waited_for(payment)
    if payment.payment_intent_id:
        return settle_intent(payment.payment_intent_id)
    if payment.checkout_session_id:
        return settle_session(payment.checkout_session_id)
    return _sent_again(payment)


def _sent_again(payment: Payment) -> Payment:
    """Nothing of Stripe's is known of it: look, and send it again while its key is remembered."""
    found = _find(payment)
    if found is not None:
        return settle_payment(found)
    if clock.now() - payment.created_at > KEY_LIFE:
        # The key may be forgotten, so that sending again could charge again.
        return give_up(payment, code="never_sent", message="It never reached the payment provider.")
    if payment.card_id:
        return submit(payment)
    session_id, _ = open_page(payment.request, idempotency_key=payment.idempotency_key)
    return settle_session(session_id)


def recover_refunds() -> int:
    """Find out what became of refunds whose answer was lost; returns how many."""
    lost = Refund.objects.filter(
        status=RefundStatus.DRAFT, created_at__lte=clock.now() - LEAST_AGE
    ).select_related("payment")
    found = list(lost.order_by("pk")[:BATCH])
    for refund in found:
        try:
            recover_refund(refund)
        except PortalError as error:
            logger.warning("%s is still to be sent: %s", refund.public_id, error.message)
    return len(found)


def recover_refund(refund: Refund) -> Refund:
    """Look for one refund at Stripe and send it again where it is not there."""
    for facts in refunds_of(refund.payment.payment_intent_id or ""):
        if facts.reference == refund.public_id:
            return settle_refund(facts)
    if clock.now() - refund.created_at > KEY_LIFE:
        return give_refund_up(refund, message="It never reached the payment provider.")
    return submit_refund(refund)


def recover_card_setups() -> int:
    """Keep cards that were saved on a page nobody came back from; returns how many were looked at.

    Pages close after a day.
    """
    now = clock.now()
    open_pages = CardSetup.objects.filter(
        status=SetupStatus.SUBMITTED,
        checkout_session_id__isnull=False,
        created_at__lte=now - SEEN_EVERY,
    ).order_by("pk")[:BATCH]
    for setup in open_pages:
        try:
            settle_card_setup(setup.checkout_session_id or "")
        except PortalError as error:
            logger.warning("%s is still open: %s", setup.public_id, error.message)
    return len(open_pages)


def _is_due(payment: Payment, now: datetime) -> bool:
    """Often while it is young, once an hour later: a page may stay open for a day."""
    if payment.looked_at is None:
        return True
    age = payment.looked_at - payment.created_at
    return now - payment.looked_at >= min(age / 4, SEEN_EVERY)


def _waited_for(payment: Payment) -> Payment:
    """Its owner has a day to answer the bank; then it is given up, and no longer in the way."""
    intent_id = payment.payment_intent_id or ""
    if clock.now() - payment.created_at > KEY_LIFE:
        return settle_payment(cancel_intent(intent_id))
    return settle_intent(intent_id)


def _find(payment: Payment) -> PaymentFacts | None:
    """Look before sending: what Stripe remembers of a key may be an error after the deed."""
    customer = payment.request.get("customer") or payment.account.stripe_customer_id
    if not customer:
        return None
    return find_intent(payment.public_id, customer_id=customer, since=payment.created_at)
