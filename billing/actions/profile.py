"""Who a team's invoices are made out to."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django_countries import countries
from stdnum import get_cc_module
from stdnum.exceptions import ValidationError

from accounts.access import require_owner, team_of
from accounts.actions import audit
from accounts.actor import Actor
from billing.access import account_of
from billing.actions.accounts import lock_account
from billing.choices import TaxIdKind, TaxIdStatus
from billing.models import BillingProfile
from billing.queries.tax import EU
from portal.lib import clock
from portal.lib.errors import InvalidInput

# Greece is GR to ISO 3166 and EL to the VAT register.
_VAT_PREFIX = {"GR": "EL"}
_REGISTERS = {
    TaxIdKind.EU_VAT: ("eu", "vat"),
    TaxIdKind.GB_VAT: ("gb", "vat"),
    TaxIdKind.CH_VAT: ("ch", "vat"),
    TaxIdKind.NO_MVA: ("no", "mva"),
    TaxIdKind.AU_ABN: ("au", "abn"),
    TaxIdKind.IN_GSTIN: ("in", "gstin"),
    TaxIdKind.CA_BN: ("ca", "bn"),
    TaxIdKind.US_EIN: ("us", "ein"),
}
_COUNTRY = {kind: register[0].upper() for kind, register in _REGISTERS.items()}


@dataclass(frozen=True, slots=True)
class Details:
    """What an owner types. `country` by ISO 3166, two letters."""

    legal_name: str
    country: str
    email: str = ""
    address: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""
    is_business: bool = False
    tax_id_kind: str = ""
    tax_id: str = ""


def check_details(details: Details) -> str:
    """The tax number in its register's own spelling. Raises InvalidInput naming each field."""
    wrong = {}
    if not details.legal_name.strip():
        wrong["legal_name"] = "Say who the invoice is for."
    if details.country not in dict(countries):
        wrong["country"] = "Choose a country."
    if bool(details.tax_id.strip()) != bool(details.tax_id_kind):
        wrong["tax_id"] = "Give both a number and its kind, or neither."
    elif details.tax_id_kind and "country" not in wrong:
        kind = TaxIdKind(details.tax_id_kind)
        if not _is_from(kind, details.country):
            wrong["tax_id_kind"] = f"This is not a number of {countries.name(details.country)}."
        elif not _is_valid(kind, details):
            wrong["tax_id"] = f"This is not a valid {kind.label}. Check the digits."
    if any("\0" in value for value in vars_of(details)):
        wrong["legal_name"] = "A character here cannot be kept."
    if wrong:
        raise InvalidInput.of(**wrong)
    return _spelled(details)


@transaction.atomic
def save_profile(actor: Actor, details: Details) -> BillingProfile:
    """Bill the actor's team under these details from now on; documents already issued stay.

    Only an owner may. Raises InvalidInput, see `check_details`.
    """
    account = lock_account(account_of(actor).pk)
    require_owner(actor)
    tax_id = check_details(details)
    profile, _ = BillingProfile.objects.update_or_create(
        account=account,
        defaults={
            "legal_name": details.legal_name.strip(),
            "email": details.email.strip(),
            "address": details.address.strip(),
            "postal_code": details.postal_code.strip(),
            "city": details.city.strip(),
            "region": details.region.strip(),
            "country": details.country,
            "is_business": details.is_business or bool(tax_id),
            "tax_id_kind": details.tax_id_kind,
            "tax_id": tax_id,
            "tax_id_is_valid": bool(tax_id),
            "tax_id_status": TaxIdStatus.UNVERIFIED,
            "tax_id_checked_at": None,
            "updated_at": clock.now(),
        },
    )
    audit.record(actor, "billing_profile.saved", team=team_of(actor), object_id=str(profile.pk))
    return profile


def vars_of(details: Details) -> list[str]:
    """All texts of it."""
    values = (getattr(details, name) for name in Details.__dataclass_fields__)
    return [value for value in values if isinstance(value, str)]


def _is_from(kind: TaxIdKind, country: str) -> bool:
    return country in EU if kind == TaxIdKind.EU_VAT else country == _COUNTRY[kind]


def _is_valid(kind: TaxIdKind, details: Details) -> bool:
    """Form and check digits, by python-stdnum, and the buyer's own country where it is in it."""
    try:
        _register(kind).validate(_full(kind, details))
    except ValidationError:
        return False
    return True


def _spelled(details: Details) -> str:
    if not details.tax_id_kind:
        return ""
    kind = TaxIdKind(details.tax_id_kind)
    compact: str = _register(kind).compact(_full(kind, details))
    return compact


def _full(kind: TaxIdKind, details: Details) -> str:
    """EU numbers with the prefix of the buyer's country, whether it was typed or not."""
    number = details.tax_id.strip().upper()
    prefix = _VAT_PREFIX.get(details.country, details.country)
    if kind == TaxIdKind.EU_VAT and not number.startswith(prefix):
        return prefix + number
    return number


def _register(kind: TaxIdKind):  # type: ignore[no-untyped-def]  # modules chosen by name
    return get_cc_module(*_REGISTERS[kind])
