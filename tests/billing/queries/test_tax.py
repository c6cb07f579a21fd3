"""The tax on an amount: place, time, who buys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError, IntegrityError, transaction

from billing.choices import TaxIdKind
from billing.models import BillingAccount, BillingProfile, TaxRate
from billing.queries.tax import REVERSE_CHARGE, TaxRule, tax_on, tax_on_credit

JULY = datetime(2026, 7, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 15, tzinfo=UTC)


def rate(
    country: str, percent: int, *, region: str = "", name: str = "VAT", **span: Any
) -> TaxRate:
    """A rate, valid for ever unless `lower` and `upper` say otherwise."""
    during = (span.get("lower"), span.get("upper"))
    return TaxRate.objects.create(
        country=country, region=region, name=name, rate_ppm=percent * 10_000, valid_during=during
    )


@pytest.fixture(autouse=True)
def german_seller(db: None, settings: Any) -> None:
    settings.SELLER_COUNTRY = "DE"
    rate("DE", 19)
    rate("FR", 20)


def buyer(account: BillingAccount, country: str, **facts: Any) -> BillingProfile:
    return BillingProfile.objects.create(
        account=account, legal_name="Buyer", country=country, **facts
    )


def with_vat_id(value: str, *, is_valid: bool = True) -> dict[str, Any]:
    return {
        "is_business": True,
        "tax_id_kind": TaxIdKind.EU_VAT,
        "tax_id": value,
        "tax_id_is_valid": is_valid,
    }


def test_buyer_nobody_knows_pays_the_sellers_rate(account: BillingAccount) -> None:
    tax = tax_on(account, 10_000, at=JUNE)
    assert (tax.rate_ppm, tax.cents, tax.name, tax.jurisdiction) == (190_000, 1900, "VAT", "DE")


def test_credit_is_taxed_when_it_is_bought_or_when_it_is_used(
    account: BillingAccount, settings: Any
) -> None:
    assert tax_on_credit(account, 10_000, at=JUNE).cents == 1900
    settings.TAX_POINT = "usage"
    assert tax_on_credit(account, 10_000, at=JUNE).cents == 0


def test_country_without_a_rate_is_not_taxed(account: BillingAccount) -> None:
    buyer(account, "JP")
    assert tax_on(account, 10_000, at=JUNE).cents == 0


def test_private_buyer_abroad_pays_the_rate_of_their_country(account: BillingAccount) -> None:
    buyer(account, "FR")
    assert tax_on(account, 10_000, at=JUNE).cents == 2000


def test_business_in_another_member_state_is_reverse_charged(account: BillingAccount) -> None:
    buyer(account, "FR", **with_vat_id("FR40303265045"))
    tax = tax_on(account, 10_000, at=JUNE)
    assert (tax.cents, tax.rate_ppm, tax.note) == (0, 0, "Reverse charge")
    assert tax.note == REVERSE_CHARGE


def test_business_at_home_pays_the_home_rate(account: BillingAccount) -> None:
    buyer(account, "DE", **with_vat_id("DE136695976"))
    assert tax_on(account, 10_000, at=JUNE).cents == 1900


def test_number_with_a_wrong_check_digit_reverses_nothing(account: BillingAccount) -> None:
    buyer(account, "FR", **with_vat_id("FR40303265046", is_valid=False))
    assert tax_on(account, 10_000, at=JUNE).cents == 2000


def test_region_has_a_rate_and_a_name_of_its_own(account: BillingAccount, settings: Any) -> None:
    rate("US", 6, region="WA", name="Sales tax")
    profile = buyer(account, "US", region="wa")
    tax = tax_on(account, 10_000, at=JUNE)
    assert (tax.cents, tax.name, tax.jurisdiction) == (600, "Sales tax", "US-WA")
    profile.region = "OR"
    profile.save()
    assert tax_on(account, 10_000, at=JUNE).cents == 0


def test_rate_changes_at_the_instant_it_says(account: BillingAccount) -> None:
    buyer(account, "IE")
    rate("IE", 21, upper=JULY)
    rate("IE", 23, lower=JULY)
    assert tax_on(account, 10_000, at=JULY.replace(microsecond=0)).cents == 2300
    assert tax_on(account, 10_000, at=JUNE).cents == 2100


@pytest.mark.parametrize(("net", "tax"), [(5, 1), (2, 0), (3, 1), (-5, -1), (0, 0)])
def test_half_a_cent_goes_up(net: int, tax: int) -> None:
    assert TaxRule(rate_ppm=190_000).cents_of(net) == tax


def test_two_rates_of_one_place_never_overlap(db: None) -> None:
    rate("US", 6, region="WA", upper=JULY)
    with pytest.raises(IntegrityError, match="tax_rate_no_overlap"), transaction.atomic():
        rate("US", 7, region="wa", lower=JUNE)
    rate("US", 7, region="WA", lower=JULY)
    rate("US", 7, region="OR", upper=JULY)


@pytest.mark.parametrize("country", ["de", "D", "DEU", "1A"])
def test_country_is_two_capital_letters(country: str) -> None:
    with pytest.raises((IntegrityError, DataError)), transaction.atomic():
        rate(country, 1)
