"""How a team pays, and what tax its place takes: for staff to set."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django_countries import countries

from accounts.access import require_staff
from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.lots import debt_of
from billing.choices import Collection
from billing.models import BillingAccount, TaxRate
from portal.lib import clock
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS, format_money

MAX_CREDIT_LIMIT_MICROS = 1_000_000 * MICROS


@transaction.atomic
def set_terms(
    actor: Actor, account_id: int, *, collection: Collection, credit_limit_micros: int
) -> BillingAccount:
    """Let a team pay by invoice up to a limit, or from credit again.

    Only staff may. Raises InvalidInput for a limit out of bounds, and while a team that shall pay
    from credit still owes something.
    """
    require_staff(actor)
    account = lock_account(account_id)
    if collection == Collection.PREPAID and credit_limit_micros:
        raise InvalidInput.of(credit_limit="Only a team that pays by invoice has a credit limit.")
    if collection == Collection.POSTPAID and not (
        0 < credit_limit_micros <= MAX_CREDIT_LIMIT_MICROS
    ):
        most = format_money(MAX_CREDIT_LIMIT_MICROS)
        raise InvalidInput.of(credit_limit=f"Choose a limit above $0 and of at most {most}.")
    if collection == Collection.PREPAID and debt_of(account) > 0:
        raise InvalidInput.of(
            collection=f"{format_money(debt_of(account))} is still owed by invoice."
        )
    account.collection, account.credit_limit_micros = collection, credit_limit_micros
    account.save(update_fields=["collection", "credit_limit_micros"])
    audit.record(
        actor,
        "billing_terms.set",
        team=account.team,
        object_id=collection.value,
        amount_micros=credit_limit_micros,
    )
    return account


@transaction.atomic
def set_tax_rate(
    actor: Actor, *, country: str, region: str, name: str, rate_ppm: int, starts_at: datetime
) -> TaxRate:
    """The rate of a place from an instant on; the one before ends there.

    Only staff may. Raises InvalidInput for a country nobody knows, a rate above 100 %, and a start
    before the one of a rate that is there or in the past: what was taxed stays as it was.
    """
    require_staff(actor)
    if country not in dict(countries):
        raise InvalidInput.of(country="Choose a country.")
    if not 0 <= rate_ppm <= 1_000_000:
        raise InvalidInput.of(rate="A rate is between 0 and 100 %.")
    if not name.strip() or len(name) > 40 or "\0" in name + region:
        raise InvalidInput.of(name="Say what invoices call it, such as VAT.")
    if starts_at < clock.now():
        raise InvalidInput.of(starts_on="A rate starts in the future: what was taxed stays.")
    place = TaxRate.objects.select_for_update().filter(
        country=country, region__iexact=region.strip()
    )
    if place.filter(valid_during__startswith__gte=starts_at).exists():
        raise InvalidInput.of(starts_on="Another rate of this place starts then or later.")
    before = place.filter(valid_during__contains=starts_at).first()
    if before is not None:
        before.valid_during = (before.valid_during.lower, starts_at)
        before.save(update_fields=["valid_during"])
    rate = TaxRate.objects.create(
        country=country,
        region=region.strip(),
        name=name.strip(),
        rate_ppm=rate_ppm,
        valid_during=(starts_at, None),
    )
    audit.record(actor, "tax_rate.set", team=None, object_id=str(rate), memo=f"{rate_ppm} ppm")
    return rate
