"""Credit given away."""

from __future__ import annotations

import pytest

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import AuditEvent, Team, User
from billing.actions.credit import MAX_GRANT_MICROS, grant_credit
from billing.choices import AccountCode
from billing.models import BillingAccount, JournalEntry
from portal.lib.errors import Conflict, InvalidInput, NotAllowed
from portal.lib.money import MICROS
from tests.billing.books import assert_books, balance


def grant(
    account: BillingAccount,
    actor: Actor,
    micros: int = MICROS,
    reason: str = "sorry",
    key: str = "k",
) -> JournalEntry:
    return grant_credit(actor, account, amount_micros=micros, reason=reason, idempotency_key="k")


@pytest.fixture
def staff(dora: User, team: Team) -> Actor:
    return Actor.staff(dora, team=team, reason="sorry")


def test_grant_is_credit_and_is_audited(account: BillingAccount, staff: Actor) -> None:
    grant(account, staff)
    assert balance(account, AccountCode.PROMO_CREDIT) == -51 * MICROS
    event = AuditEvent.objects.filter(verb="credit.granted").latest("pk")
    assert (event.user, event.reason, event.detail["amount_micros"]) == (
        staff.user,
        "sorry",
        MICROS,
    )
    assert_books(account)


def test_same_key_grants_once(account: BillingAccount, staff: Actor) -> None:
    assert grant(account, staff).pk == grant(account, staff).pk
    assert balance(account, AccountCode.PROMO_CREDIT) == -51 * MICROS


def test_same_key_for_another_amount_is_refused(account: BillingAccount, staff: Actor) -> None:
    grant(account, staff)
    with pytest.raises(Conflict):
        grant(account, staff, micros=2 * MICROS)


@pytest.mark.parametrize("micros", [0, -1, MAX_GRANT_MICROS + 1])
def test_amount_out_of_bounds_is_refused(
    account: BillingAccount, staff: Actor, micros: int
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        grant(account, staff, micros=micros)
    assert "amount" in refusal.value.fields


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "a\0b"])
def test_reason_is_needed(account: BillingAccount, staff: Actor, reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        grant(account, staff, reason=reason)
    assert "reason" in refusal.value.fields


def test_an_owner_cannot_grant(account: BillingAccount, alice: User) -> None:
    with pytest.raises(NotAllowed):
        grant(account, actor_of_user(alice))
