"""Who sells and who buys, as a document keeps it."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings

from billing.models import BillingAccount, BillingProfile

Party = dict[str, str | list[str]]


def seller() -> Party:
    """The operator of this cloud, by the settings."""
    return {
        "name": settings.SELLER_NAME,
        "address": list(settings.SELLER_ADDRESS),
        "country": settings.SELLER_COUNTRY,
        "tax_id": settings.SELLER_TAX_ID,
    }


def buyers(account_ids: Collection[int]) -> dict[int, Party]:
    """Each account's billing details, or its team's name where none were entered."""
    names = BillingAccount.objects.filter(pk__in=account_ids).values_list("pk", "team__name")
    found: dict[int, Party] = {
        key: {"name": name, "address": [], "country": "", "tax_id": "", "email": ""}
        for key, name in names
    }
    for profile in BillingProfile.objects.filter(account__in=account_ids):
        found[profile.account_id] = party_of(profile)
    return found


def party_of(profile: BillingProfile) -> Party:
    """A profile as documents print it, the address in lines."""
    place = " ".join(part for part in (profile.postal_code, profile.city) if part)
    lines = [*profile.address.splitlines(), place, profile.region]
    return {
        "name": profile.legal_name,
        "address": [line.strip() for line in lines if line.strip()],
        "country": profile.country,
        "tax_id": profile.tax_id,
        "email": profile.email,
    }
