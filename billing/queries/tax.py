"""What tax is due on an amount: one rule for top-ups and invoices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from stdnum.eu.vat import MEMBER_STATES

from billing.choices import TaxIdKind, TaxPoint
from billing.models import BillingAccount, BillingProfile, TaxRate

# Article 226 (11a) of Directive 2006/112/EC asks for these very words.
REVERSE_CHARGE = "Reverse charge"
# Northern Ireland (XI) belongs to it for goods only, which a cloud does not sell.
EU: Final = frozenset(code.upper() for code in MEMBER_STATES - {"xi"})
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TaxRule:
    """The rate, in parts per million of the net amount, and what the document says of it."""

    rate_ppm: int = 0
    name: str = ""
    note: str = ""
    jurisdiction: str = ""

    def cents_of(self, net_cents: int) -> int:
        """The tax on a whole rate group, rounded once, half up (away from zero below it)."""
        cents = (abs(net_cents) * self.rate_ppm * 2 + _MILLION) // (2 * _MILLION)
        return cents if net_cents >= 0 else -cents


@dataclass(frozen=True, slots=True)
class TaxAmount:
    """Tax on one amount at one rate; `note` is what the document has to say about it."""

    rate_ppm: int
    cents: int
    name: str
    note: str
    jurisdiction: str = ""


def tax_on_credit(account: BillingAccount, net_cents: int, *, at: datetime) -> TaxAmount:
    """The tax `account` pays on credit it buys at `at`; none where use is taxed, by `TAX_POINT`."""
    if settings.TAX_POINT == TaxPoint.USAGE:
        return TaxAmount(0, 0, "", "")
    return tax_on(account, net_cents, at=at)


def tax_on(account: BillingAccount, net_cents: int, *, at: datetime) -> TaxAmount:
    """The tax `account` pays on `net_cents` at `at`."""
    rule = tax_rules([account.pk], at=at)[account.pk]
    return TaxAmount(
        rule.rate_ppm, rule.cents_of(net_cents), rule.name, rule.note, rule.jurisdiction
    )


def tax_rules(account_ids: Collection[int], *, at: datetime) -> dict[int, TaxRule]:
    """The rule for each account at `at`, in two queries however many there are."""
    profiles = {
        profile.account_id: profile
        for profile in BillingProfile.objects.filter(account__in=account_ids)
    }
    rates = _by_place(TaxRate.objects.filter(valid_during__contains=at))
    return {key: _rule(profiles.get(key), rates) for key in account_ids}


def _by_place(rates: Iterable[TaxRate]) -> dict[tuple[str, str], TaxRate]:
    return {(rate.country, rate.region.casefold()): rate for rate in rates}


def _rule(profile: BillingProfile | None, rates: Mapping[tuple[str, str], TaxRate]) -> TaxRule:
    seller = settings.SELLER_COUNTRY
    country = profile.country if profile else seller
    if profile and _is_reverse_charged(profile, seller):
        return TaxRule(note=REVERSE_CHARGE, jurisdiction=country)
    region = profile.region.strip().casefold() if profile else ""
    rate = rates.get((country, region)) or rates.get((country, ""))
    if rate is None:
        return TaxRule()
    place = f"{rate.country}-{rate.region}" if rate.region else rate.country
    return TaxRule(rate.rate_ppm, rate.name, jurisdiction=place)


def _is_reverse_charged(profile: BillingProfile, seller: str) -> bool:
    """A business in a member state of the EU that is not the seller's owes the tax itself."""
    return (
        profile.is_business
        and profile.country in EU
        and profile.country != seller
        and profile.tax_id_kind == TaxIdKind.EU_VAT
        and profile.tax_id_is_valid
    )
