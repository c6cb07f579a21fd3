"""Automatic top-up: one charge at a time, at most one an hour, never above the month's maximum."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Sum

from accounts.access import require_owner, team_of
from accounts.actions import audit
from accounts.actor import Actor
from billing.access import account_of
from billing.actions.accounts import lock_account
from billing.actions.auto_pause import pause
from billing.actions.charging import submit, write_request
from billing.actions.customers import ensure_customer
from billing.actions.payments import new_payment
from billing.actions.topups import MAX_CENTS, check_amount
from billing.choices import Collection, PauseReason, PaymentPurpose, PaymentStatus
from billing.models import AutoTopUp, BillingAccount, Payment, PaymentMethod
from billing.models.payment import IN_FLIGHT
from billing.queries.funds import funds_of
from billing.queries.periods import period_of
from billing.queries.tax import tax_on_credit
from portal.lib import clock
from portal.lib.errors import InvalidInput, Unavailable
from portal.lib.money import MICROS_PER_CENT, from_cents

logger = logging.getLogger(__name__)
LEAST_BETWEEN = timedelta(hours=1)
MAX_MONTHLY_CENTS = 100_000_00


@transaction.atomic
def set_rule(
    actor: Actor, *, threshold_cents: int, amount_cents: int, monthly_maximum_cents: int
) -> AutoTopUp:
    """Turn automatic top-up on, or change it; a pause ends with it.

    Only an owner may. Raises InvalidInput for amounts that cannot be or where no card is saved.
    """
    account = lock_account(account_of(actor).pk)
    require_owner(actor)
    check_amount(amount_cents)
    if not 0 <= threshold_cents <= MAX_CENTS:
        raise InvalidInput.of(threshold=f"Choose from $0 to ${MAX_CENTS // 100:,}.")
    if not amount_cents <= monthly_maximum_cents <= MAX_MONTHLY_CENTS:
        raise InvalidInput.of(
            monthly_maximum="Choose at least the amount of one top-up and at most "
            f"${MAX_MONTHLY_CENTS // 100:,}."
        )
    if default_card(account) is None:
        raise InvalidInput("Save a card first: automatic top-up charges the default card.")
    rule, _ = AutoTopUp.objects.update_or_create(
        account=account,
        defaults={
            "is_on": True,
            "threshold_micros": from_cents(threshold_cents),
            "amount_micros": from_cents(amount_cents),
            "monthly_maximum_micros": from_cents(monthly_maximum_cents),
            "pause_reason": "",
            "paused_at": None,
            "updated_at": clock.now(),
        },
    )
    audit.record(
        actor,
        "auto_top_up.set",
        team=team_of(actor),
        threshold_micros=rule.threshold_micros,
        amount_micros=rule.amount_micros,
        monthly_maximum_micros=rule.monthly_maximum_micros,
    )
    return rule


@transaction.atomic
def turn_off(actor: Actor) -> None:
    """Charge nothing by itself from now on. Only an owner may."""
    account = lock_account(account_of(actor).pk)
    require_owner(actor)
    if AutoTopUp.objects.filter(account=account, is_on=True).update(
        is_on=False, pause_reason="", paused_at=None, updated_at=clock.now()
    ):
        audit.record(actor, "auto_top_up.off", team=team_of(actor))


def run_due() -> int:
    """Top up each account whose rule asks for it now; returns how many were charged or tried."""
    month = period_of(clock.now())[0]
    AutoTopUp.objects.filter(pause_reason=PauseReason.MONTHLY_MAXIMUM, paused_at__lt=month).update(
        pause_reason="", paused_at=None
    )
    rules = AutoTopUp.objects.filter(is_on=True, pause_reason="")
    tried = 0
    for account_id in list(rules.values_list("account_id", flat=True)):
        try:
            tried += request(account_id) is not None
        except Unavailable as error:
            logger.warning("automatic top-up of account %s: %s", account_id, error.message)
            tried += 1
    return tried


def request(account_id: int) -> Payment | None:
    """Top the account up now if its rule asks for it; None where it does not.

    Raises Unavailable when Stripe does not answer: the payment stays in flight and is asked for
    again with the same key. Must not be called inside a transaction.
    """
    account = BillingAccount.objects.get(pk=account_id)
    if not _is_short(account):
        return None
    customer = ensure_customer(account)
    payment = _intend(account_id, customer)
    return submit(payment) if payment else None


def default_card(account: BillingAccount) -> PaymentMethod | None:
    """What is charged when nobody is asked."""
    return account.cards.filter(is_default=True).first()


def _is_short(account: BillingAccount) -> bool:
    rule = AutoTopUp.objects.filter(account=account, is_on=True, pause_reason="").first()
    return (
        rule is not None
        and account.collection == Collection.PREPAID
        and funds_of(account).available_micros < rule.threshold_micros
    )


@transaction.atomic
def _intend(account_id: int, customer_id: str) -> Payment | None:
    """Decide under the account's lock, so that of any number of askers one charges."""
    account = lock_account(account_id)
    now = clock.now()
    automatic = Payment.objects.filter(account=account, purpose=PaymentPurpose.AUTO_TOP_UP)
    if (
        not _is_short(account)
        or automatic.filter(status__in=IN_FLIGHT).exists()
        or automatic.filter(created_at__gt=now - LEAST_BETWEEN).exists()
    ):
        return None
    card = default_card(account)
    if card is None:
        pause(account, PauseReason.NO_CARD)
        return None
    rule = AutoTopUp.objects.get(account=account)
    net_cents = _size(rule, funds_of(account).available_micros)
    tax = tax_on_credit(account, net_cents, at=now)
    spent = automatic.filter(
        status=PaymentStatus.SUCCEEDED, created_at__gte=period_of(now)[0]
    ).aggregate(total=Sum("amount_micros", default=0))["total"]
    if spent + from_cents(net_cents + tax.cents) > rule.monthly_maximum_micros:
        pause(account, PauseReason.MONTHLY_MAXIMUM)
        return None
    payment = new_payment(
        account,
        purpose=PaymentPurpose.AUTO_TOP_UP,
        net_cents=net_cents,
        tax_cents=tax.cents,
        card=card,
    )
    write_request(payment, card, customer_id=customer_id)
    return payment


def _size(rule: AutoTopUp, available_micros: int) -> int:
    """Cents of one charge: the rule's amount, or what leads back over the threshold if more."""
    gap = -(-(rule.threshold_micros - available_micros) // MICROS_PER_CENT)
    return min(max(rule.amount_micros // MICROS_PER_CENT, gap), MAX_CENTS)
