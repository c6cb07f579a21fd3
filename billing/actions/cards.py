"""Saving cards on Stripe's page, choosing among them, removing them."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction

from accounts.access import require_owner, team_of
from accounts.actions import audit
from accounts.actor import Actor
from billing.access import account_of, card_for
from billing.actions.accounts import lock_account
from billing.actions.auto_pause import resume
from billing.actions.customers import ensure_customer
from billing.choices import CardStatus, PauseReason, SetupStatus
from billing.gateways.checkout import card_page, fetch_card_session, open_page
from billing.gateways.customers import fetch_card, forget_card
from billing.gateways.facts import CardFacts, SetupFacts
from billing.models import AutoTopUp, BillingAccount, CardSetup, PaymentMethod
from portal.lib.errors import Conflict, NotFound, Unavailable

RETURN_PATH = "/billing/cards/return/"
CANCEL_PATH = "/billing/cards/"
MAX_CARDS = 10


def start_card_setup(actor: Actor) -> str:
    """Begin to save a card; returns the address of Stripe's page for it. Only an owner may.

    Raises Conflict when the team has enough cards, Unavailable when Stripe does not answer. Must
    not be called inside a transaction.
    """
    require_owner(actor)
    account = account_of(actor)
    if account.cards.filter(status=CardStatus.ACTIVE).count() >= MAX_CARDS:
        raise Conflict(f"{MAX_CARDS} cards are saved already. Remove one first.")
    customer = ensure_customer(account)
    setup = CardSetup.objects.create(account=account, idempotency_key=f"card-{uuid.uuid4()}")
    back = settings.SITE_URL + RETURN_PATH + "?" + urlencode({"setup": setup.public_id})
    request = card_page(
        reference=setup.public_id,
        currency=account.currency,
        customer_id=customer,
        success_url=back,
        cancel_url=settings.SITE_URL + CANCEL_PATH,
    )
    session_id, url = open_page(request, idempotency_key=setup.idempotency_key)
    CardSetup.objects.filter(pk=setup.pk, status=SetupStatus.DRAFT).update(
        status=SetupStatus.SUBMITTED, checkout_session_id=session_id
    )
    if url is None:
        raise Unavailable("The page for the card is closed already. Start again.")
    return url


def settle_card_setup(session_id: str) -> CardSetup:
    """Keep the card that a page has saved; once, whoever asks. Raises NotFound for foreign pages.

    Called after webhooks and by the return page.
    """
    return _keep(fetch_card_session(session_id))


def refresh_card(stripe_id: str) -> PaymentMethod | None:
    """Bring a card up to what Stripe has: banks renew cards, and people remove them elsewhere."""
    facts = fetch_card(stripe_id)
    known = PaymentMethod.objects.filter(stripe_id=stripe_id).first()
    if known is None:
        return None
    with transaction.atomic():
        account = lock_account(known.account_id)
        card = PaymentMethod.objects.select_for_update(no_key=True).get(pk=known.pk)
        if facts.customer_id is None:
            _drop(account, card)
        else:
            card.exp_month, card.exp_year, card.last4 = facts.exp_month, facts.exp_year, facts.last4
            card.save(update_fields=["exp_month", "exp_year", "last4"])
    return card


@transaction.atomic
def set_default_card(actor: Actor, card_id: str) -> PaymentMethod:
    """Charge this card from now on. Only an owner may. Raises NotFound."""
    require_owner(actor)
    account = lock_account(account_of(actor).pk)
    card = card_for(actor, card_id)
    account.cards.filter(is_default=True).exclude(pk=card.pk).update(is_default=False)
    account.cards.filter(pk=card.pk).update(is_default=True)
    resume(account, PauseReason.NO_CARD)
    audit.record(actor, "card.default", team=team_of(actor), object_id=card.public_id)
    card.is_default = True
    return card


def remove_card(actor: Actor, card_id: str) -> None:
    """Forget a card, here and at Stripe. Only an owner may.

    Raises NotFound, Conflict for the card that automatic top-up charges, Unavailable when Stripe
    does not answer; then the card stays. Must not be called inside a transaction.
    """
    require_owner(actor)
    card = card_for(actor, card_id)
    if card.is_default and AutoTopUp.objects.filter(account=card.account, is_on=True).exists():
        raise Conflict("Automatic top-up charges this card. Choose another one or turn it off.")
    forget_card(card.stripe_id)
    with transaction.atomic():
        account = lock_account(card.account_id)
        _drop(account, card)
        audit.record(actor, "card.removed", team=team_of(actor), object_id=card.public_id)


@transaction.atomic
def _keep(facts: SetupFacts) -> CardSetup:
    found = CardSetup.objects.filter(public_id=facts.reference).first()
    if found is None:
        raise NotFound(f"No card of ours is saved under {facts.reference!r}.")
    account = lock_account(found.account_id)
    setup = CardSetup.objects.select_for_update(no_key=True).get(pk=found.pk)
    if setup.status == SetupStatus.DONE:
        return setup
    setup.checkout_session_id = facts.session_id
    if facts.is_done and facts.card:
        setup.card = _saved(account, facts.card)
        setup.status = SetupStatus.DONE
    elif facts.is_expired:
        setup.status = SetupStatus.CANCELED
    elif setup.status == SetupStatus.DRAFT:
        setup.status = SetupStatus.SUBMITTED
    setup.save()
    return setup


def _saved(account: BillingAccount, facts: CardFacts) -> PaymentMethod:
    if facts.customer_id != account.stripe_customer_id:
        raise Conflict(f"{facts.id} belongs to another customer than the team's.")
    has_default = account.cards.filter(is_default=True).exists()
    card, is_new = PaymentMethod.objects.get_or_create(
        stripe_id=facts.id,
        defaults={
            "account": account,
            "fingerprint": facts.fingerprint,
            "brand": facts.brand,
            "last4": facts.last4,
            "exp_month": facts.exp_month,
            "exp_year": facts.exp_year,
            "is_default": not has_default,
        },
    )
    if is_new and not has_default:
        resume(account, PauseReason.NO_CARD)
    return card


def _drop(account: BillingAccount, card: PaymentMethod) -> None:
    account.cards.filter(pk=card.pk).update(status=CardStatus.REMOVED, is_default=False)
