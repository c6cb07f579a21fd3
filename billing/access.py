"""The doors to a team's money: every object is looked up through the actor."""

from __future__ import annotations

from accounts.access import team_of
from accounts.actor import Actor
from billing.actions.accounts import ensure_account
from billing.choices import CardStatus
from billing.models import (
    BillingAccount,
    CardSetup,
    CreditNote,
    Invoice,
    Payment,
    PaymentMethod,
)
from portal.lib.errors import NotFound


def account_of(actor: Actor) -> BillingAccount:
    """The billing account of the actor's team. Raises NotFound for an actor without a team."""
    return ensure_account(team_of(actor))


def payment_for(actor: Actor, payment_id: str) -> Payment:
    """A payment of the actor's team. Raises NotFound."""
    found = Payment.objects.filter(account=account_of(actor), public_id=_clean(payment_id)).first()
    if found is None:
        raise NotFound("There is no such payment.")
    return found


def card_for(actor: Actor, card_id: str) -> PaymentMethod:
    """A saved card of the actor's team. Raises NotFound."""
    found = PaymentMethod.objects.filter(
        account=account_of(actor), public_id=_clean(card_id), status=CardStatus.ACTIVE
    ).first()
    if found is None:
        raise NotFound("There is no such card.")
    return found


def card_setup_for(actor: Actor, setup_id: str) -> CardSetup:
    """A card being saved by the actor's team. Raises NotFound."""
    found = CardSetup.objects.filter(account=account_of(actor), public_id=_clean(setup_id)).first()
    if found is None:
        raise NotFound("There is no such card.")
    return found


def invoice_for(actor: Actor, invoice_id: str) -> Invoice:
    """An invoice of the actor's team. Raises NotFound."""
    found = (
        Invoice.objects.select_related("account__team")
        .filter(account=account_of(actor), public_id=_clean(invoice_id))
        .first()
    )
    if found is None:
        raise NotFound("There is no such invoice.")
    return found


def credit_note_for(actor: Actor, note_id: str) -> CreditNote:
    """A credit note of the actor's team. Raises NotFound."""
    found = (
        CreditNote.objects.select_related("invoice", "refund")
        .filter(invoice__account=account_of(actor), public_id=_clean(note_id))
        .first()
    )
    if found is None:
        raise NotFound("There is no such credit note.")
    return found


def _clean(public_id: str) -> str:
    """PostgreSQL takes no NUL in a text."""
    return public_id.replace("\0", "")[:60]
