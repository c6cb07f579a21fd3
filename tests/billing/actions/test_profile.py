"""Billing details: whose number is checked, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from billing.actions.profile import Details, save_profile
from billing.models import BillingAccount, BillingProfile
from portal.lib.errors import InvalidInput, NotAllowed

LAB = Details(legal_name="Lab GmbH", country="DE", address="Weg 1", city="Jena")


def refusal(actor: Actor, **change: Any) -> dict[str, Any]:
    with pytest.raises(InvalidInput) as caught:
        save_profile(actor, replace(LAB, **change))
    assert not BillingProfile.objects.exists()
    return dict(caught.value.fields)


def test_details_are_kept(actor: Actor, account: BillingAccount) -> None:
    profile = save_profile(actor, LAB)
    assert (profile.legal_name, profile.country, profile.tax_id) == ("Lab GmbH", "DE", "")


def test_saving_again_replaces_them(actor: Actor, account: BillingAccount) -> None:
    save_profile(actor, LAB)
    save_profile(actor, replace(LAB, legal_name="Lab AG"))
    assert BillingProfile.objects.get().legal_name == "Lab AG"


@pytest.mark.parametrize(
    ("country", "kind", "typed", "kept"),
    [
        ("DE", "eu_vat", "DE 136 695 976", "DE136695976"),
        ("DE", "eu_vat", "136695976", "DE136695976"),
        ("FR", "eu_vat", "FR 83 404 833 048", "FR83404833048"),
        ("GR", "eu_vat", "EL 094259216", "EL094259216"),
        ("GB", "gb_vat", "GB 980 7806 84", "980780684"),
        ("CH", "ch_vat", "CHE-107.787.577 IVA", "CHE107787577IVA"),
        ("US", "us_ein", "91-1144442", "911144442"),
        ("AU", "au_abn", "83 914 571 673", "83914571673"),
    ],
)
def test_number_is_kept_as_its_register_spells_it(
    actor: Actor, account: BillingAccount, country: str, kind: str, typed: str, kept: str
) -> None:
    profile = save_profile(actor, replace(LAB, country=country, tax_id_kind=kind, tax_id=typed))
    assert (profile.tax_id, profile.tax_id_is_valid, profile.is_business) == (kept, True, True)


def test_number_with_wrong_digits_is_refused(actor: Actor, account: BillingAccount) -> None:
    found = refusal(actor, tax_id_kind="eu_vat", tax_id="DE136695978")
    assert "not a valid EU VAT number" in str(found["tax_id"])


def test_number_of_another_country_is_refused(actor: Actor, account: BillingAccount) -> None:
    assert "not a number of Germany" in str(
        refusal(actor, tax_id_kind="gb_vat", tax_id="980780684")["tax_id_kind"]
    )
    assert "tax_id" in refusal(actor, tax_id_kind="eu_vat", tax_id="FR83404833048")


def test_number_without_its_kind_is_refused(actor: Actor, account: BillingAccount) -> None:
    assert "tax_id" in refusal(actor, tax_id="DE136695976")


@pytest.mark.parametrize("change", [{"legal_name": " "}, {"country": "XX"}, {"city": "a\0b"}])
def test_what_cannot_be_printed_is_refused(
    actor: Actor, account: BillingAccount, change: dict[str, str]
) -> None:
    assert refusal(actor, **change)


def test_member_may_not_change_them(bob: User, account: BillingAccount) -> None:
    with pytest.raises(NotAllowed):
        save_profile(actor_of_user(bob), LAB)


def test_page_saves_and_shows(
    alice: User, account: BillingAccount, client_of: Callable[[User], Client]
) -> None:
    client = client_of(alice)
    form = {"legal_name": "Lab GmbH", "country": "DE", "tax_id_kind": "eu_vat"}
    wrong = client.post("/billing/details/", form | {"tax_id": "DE1"})
    assert wrong.status_code == 400
    assert "not a valid EU VAT number" in wrong.content.decode()
    assert client.post("/billing/details/", form | {"tax_id": "DE136695976"}).status_code == 302
    assert "DE136695976" in client.get("/billing/details/").content.decode()
