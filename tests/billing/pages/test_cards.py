"""/billing/cards/: cards and automatic top-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.auto_top_up import request, set_rule
from billing.choices import PauseReason
from billing.models import AutoTopUp, BillingAccount, CardSetup, PaymentMethod
from tests.billing.conftest import Box
from tests.ports import free_port

ClientOf = Callable[[User], Client]
URL = "/billing/cards/"
RULE = {"threshold": "60", "amount": "40", "monthly_maximum": "100"}


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_empty_page_says_what_a_card_is_for(alice: User, team: Team, client_of: ClientOf) -> None:
    page = text(client_of(alice).get(URL))
    assert "No card saved" in page
    assert "Turn on" in page


def test_card_is_added_at_stripe_and_shown(
    alice: User, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    client = client_of(alice)
    away = client.post(f"{URL}add/")
    assert away.status_code == 303
    back = box.pay(away.headers["Location"]).headers["Location"]
    page = text(client.get(back.partition(":8000")[2] or back, follow=True))
    assert "•••• 4242" in page
    assert PaymentMethod.objects.get().account == account


def test_return_before_the_card_was_typed_saves_nothing(
    alice: User, account: BillingAccount, box: Box, client_of: ClientOf
) -> None:
    client = client_of(alice)
    client.post(f"{URL}add/")
    setup = CardSetup.objects.get()
    assert "No card was saved yet" in text(
        client.get(f"{URL}return/", {"setup": setup.public_id}, follow=True)
    )


def test_return_of_another_teams_page_is_not_found(
    alice: User, charlie: User, account: BillingAccount, client_of: ClientOf
) -> None:
    setup = CardSetup.objects.create(account=account, idempotency_key="k")
    answer = client_of(charlie).get(f"{URL}return/", {"setup": setup.public_id})
    assert answer.status_code == 404


def test_default_is_chosen_and_a_card_removed(
    alice: User, actor: Actor, box: Box, client_of: ClientOf
) -> None:
    first, second = box.save_card(actor), box.save_card(actor, "5555 5555 5555 4444")
    client = client_of(alice)
    client.post(f"{URL}{second.public_id}/default/")
    assert PaymentMethod.objects.get(is_default=True) == second
    page = text(client.post(f"{URL}{first.public_id}/remove/", follow=True))
    assert "•••• 4444" in page
    assert "•••• 4242" not in page


def test_rule_is_turned_on_changed_and_off(
    alice: User, actor: Actor, box: Box, client_of: ClientOf
) -> None:
    box.save_card(actor)
    client = client_of(alice)
    assert "Turn off" in text(client.post(f"{URL}auto-top-up/", RULE, follow=True))
    client.post(f"{URL}auto-top-up/", RULE | {"amount": "45.50"})
    assert AutoTopUp.objects.get().amount_micros == 45_500_000
    assert "Turn on" in text(client.post(f"{URL}auto-top-up/off/", follow=True))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "4.99"),
        ("amount", "-5"),
        ("amount", "NaN"),
        ("amount", "9e18"),
        ("amount", "12.345"),
        ("threshold", "-1"),
        ("threshold", ""),
        ("monthly_maximum", "39.99"),
        ("monthly_maximum", "lots"),
    ],
)
def test_amount_that_cannot_be_is_named_at_its_field(
    alice: User, actor: Actor, box: Box, client_of: ClientOf, field: str, value: str
) -> None:
    box.save_card(actor)
    answer = client_of(alice).post(f"{URL}auto-top-up/", RULE | {field: value})
    assert answer.status_code == 400
    assert f'id="id_{field}_error"' in text(answer) or f"#id_{field}" in text(answer)
    assert not AutoTopUp.objects.exists()


def test_pause_says_why_and_what_to_do(
    alice: User, account: BillingAccount, actor: Actor, box: Box, client_of: ClientOf
) -> None:
    box.save_card(actor, "4000 0027 6000 3184")
    set_rule(actor, threshold_cents=60_00, amount_cents=40_00, monthly_maximum_cents=100_00)
    request(account.pk)
    page = text(client_of(alice).get(URL))
    assert PauseReason.AUTHENTICATION.label in page
    assert "waits for you" in page


def test_member_looks_and_changes_nothing(
    bob: User, actor: Actor, box: Box, client_of: ClientOf
) -> None:
    card = box.save_card(actor)
    client = client_of(bob)
    assert "Only an owner" in text(client.get(URL))
    for path in ("add/", f"{card.public_id}/default/", f"{card.public_id}/remove/"):
        assert client.post(URL + path).status_code == 403
    assert client.post(f"{URL}auto-top-up/", RULE).status_code == 403


def test_silent_stripe_is_said(
    alice: User, account: BillingAccount, client_of: ClientOf, settings: Any
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    page = text(client_of(alice).post(f"{URL}add/", follow=True))
    assert "does not answer" in page
