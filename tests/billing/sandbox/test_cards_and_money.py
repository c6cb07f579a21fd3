"""Test cards, amounts and fees."""

from __future__ import annotations

import pytest

from billing.sandbox import money
from billing.sandbox.cards import read_card
from billing.sandbox.errors import CardRefused, InvalidRequest

NOW = 1_800_000_000  # 2027-01-15


@pytest.mark.parametrize(
    ("number", "decline"),
    [
        ("4242424242424242", None),
        ("4242-4242 4242 4242", None),
        ("4000 0000 0000 0002", "generic_decline"),
        ("4000 0000 0000 9995", "insufficient_funds"),
        ("4012 8888 8888 1881", "test_mode_live_card"),
    ],
)
def test_what_the_bank_says(number: str, decline: str | None) -> None:
    card = read_card(number, "01/27", "123", NOW)
    assert (card.behaviour.decline.decline_code if card.behaviour.decline else None) == decline


@pytest.mark.parametrize(
    ("number", "expiry", "cvc", "param"),
    [
        ("4242 4242 4242 4241", "12/40", "123", "number"),
        ("4242", "12/40", "123", "number"),
        ("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "12/40", "123", "number"),
        ("4242424242424242", "13/40", "123", "exp_month"),
        ("4242424242424242", "soon", "123", "exp_month"),
        ("4242424242424242", "12/26", "123", "exp_year"),
        ("4242424242424242", "12/99", "123", "exp_year"),
        ("4242424242424242", "12/40", "12", "cvc"),
        ("378282246310005", "12/40", "123", "cvc"),
    ],
)
def test_wrong_details_name_the_field(number: str, expiry: str, cvc: str, param: str) -> None:
    with pytest.raises(CardRefused) as caught:
        read_card(number, expiry, cvc, NOW)
    assert caught.value.param == param


@pytest.mark.parametrize(("amount", "fee"), [(50, 31), (100, 33), (2500, 103), (10_000, 320)])
def test_fee_is_2_9_percent_and_30(amount: int, fee: int) -> None:
    assert money.fee(amount) == fee


@pytest.mark.parametrize(("amount", "fine"), [(49, False), (50, True), (100_000_000, False)])
def test_bounds_of_a_dollar_charge(amount: int, fine: bool) -> None:
    if fine:
        money.check_amount(amount, "usd", "It")
    else:
        with pytest.raises(InvalidRequest):
            money.check_amount(amount, "usd", "It")


def test_amounts_read_as_money() -> None:
    shown = [money.display(123_450, "usd"), money.display(500, "jpy"), money.display(5, "sek")]
    assert shown == ["$1,234.50", "¥500", "0.05 SEK"]
