"""What Stripe's objects say, as little of it as we use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import stripe

from billing.choices import PaymentStatus

AUTHENTICATION = "authentication_required"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """A saved card as Stripe shows it."""

    id: str
    customer_id: str | None
    fingerprint: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """A payment as Stripe has it now. `reference` is the public id of our Payment.

    `url` is where a person goes on: the Checkout page, or the bank's question.
    """

    reference: str
    status: PaymentStatus
    amount_cents: int
    currency: str
    intent_id: str | None = None
    session_id: str | None = None
    failure_code: str = ""
    failure_message: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class SetupFacts:
    """Saving a card as Stripe has it now. `reference` is the public id of our CardSetup."""

    reference: str
    session_id: str
    is_done: bool
    is_expired: bool
    card: CardFacts | None
    url: str | None


class Container(Protocol):
    """An object of Stripe's, by name."""

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> object: ...


class HasId(Protocol):
    """Whatever Stripe expands an id to."""

    @property
    def id(self) -> str: ...


def id_of(found: str | HasId | None) -> str | None:
    """Stripe sends an id, or the object where it was asked to expand it."""
    return found if found is None or isinstance(found, str) else found.id


def tag(found: Container | None, name: str) -> str:
    """A text of one of Stripe's objects, which leave out what is not set; empty then."""
    if found is None or name not in found:
        return ""
    return str(found[name] or "")


def card_facts(method: stripe.PaymentMethod) -> CardFacts:
    """Raises ValueError for what is no card."""
    card = method.card
    if card is None:
        raise ValueError(f"{method.id} is a {method.type}, not a card")
    return CardFacts(
        id=method.id,
        customer_id=id_of(method.customer),
        fingerprint=card.fingerprint or "",
        brand=card.brand,
        last4=card.last4 or "",
        exp_month=card.exp_month,
        exp_year=card.exp_year,
    )


_STATUS = {
    "succeeded": PaymentStatus.SUCCEEDED,
    "processing": PaymentStatus.PROCESSING,
    "requires_action": PaymentStatus.REQUIRES_ACTION,
    "canceled": PaymentStatus.CANCELED,
}


def intent_facts(intent: stripe.PaymentIntent) -> PaymentFacts:
    """What a PaymentIntent says."""
    error = intent.last_payment_error
    code = tag(error, "code")
    status = _STATUS.get(intent.status, PaymentStatus.SUBMITTED)
    if error and status == PaymentStatus.SUBMITTED:
        asks = code == AUTHENTICATION
        status = PaymentStatus.REQUIRES_ACTION if asks else PaymentStatus.FAILED
    return PaymentFacts(
        reference=tag(intent.metadata, "payment"),
        status=status,
        amount_cents=intent.amount,
        currency=intent.currency,
        intent_id=intent.id,
        failure_code=tag(error, "decline_code") or code,
        failure_message=tag(error, "message"),
        url=_where_to(intent),
    )


def _where_to(intent: stripe.PaymentIntent) -> str | None:
    action = intent.next_action
    redirect = action.redirect_to_url if action else None
    return redirect.url if redirect else None


def session_facts(session: stripe.checkout.Session) -> PaymentFacts:
    """What a Checkout Session in payment mode says."""
    if session.payment_status == "paid":
        status = PaymentStatus.SUCCEEDED
    elif session.status == "expired":
        status = PaymentStatus.CANCELED
    elif session.status == "complete":
        status = PaymentStatus.PROCESSING  # `completed` is not `paid`
    else:
        status = PaymentStatus.SUBMITTED
    return PaymentFacts(
        reference=session.client_reference_id or "",
        status=status,
        amount_cents=session.amount_total or 0,
        currency=session.currency or "",
        intent_id=id_of(session.payment_intent),
        session_id=session.id,
        url=session.url,
    )
