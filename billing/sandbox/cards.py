"""Stripe's test cards: which numbers there are and what the bank says to each.

A card's number and security code are looked at and forgotten; only brand, last four digits and a
fingerprint are kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from billing.sandbox.errors import CardRefused


@dataclass(frozen=True, slots=True)
class Decline:
    """Stripe's `code`, the bank's `decline_code`, and the sentence the payer reads."""

    code: str
    decline_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a test card does. `decline` is the bank's answer to everything, `charge_decline` only
    to a charge.

    `authentication`: "unless_saved" asks the owner unless the card was saved with them present,
    "always" asks at each charge, "on_save" only when it is saved. `dispute` is what a charge turns
    into, `refund` how one ends that Stripe first took on.
    """

    brand: str
    decline: Decline | None = None
    charge_decline: Decline | None = None
    authentication: Literal["", "unless_saved", "always", "on_save"] = ""
    dispute: Literal["", "fraudulent", "inquiry"] = ""
    refund: Literal["", "fails_later", "pending"] = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A card whose details are well formed."""

    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    behaviour: Behaviour

    @property
    def brand(self) -> str:
        """Its network."""
        return self.behaviour.brand


_GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
_LIVE = Decline(
    "card_declined",
    "test_mode_live_card",
    "Your card was declined. This is test mode: use a test card number.",
)
AUTHENTICATION = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
_KNOWN: dict[str, Behaviour] = {
    "4242424242424242": Behaviour("visa"),
    "4000056655665556": Behaviour("visa"),
    "5555555555554444": Behaviour("mastercard"),
    "378282246310005": Behaviour("amex"),
    "4000000000000341": Behaviour("visa", charge_decline=_GENERIC),
    "4000002500003155": Behaviour("visa", authentication="unless_saved"),
    "4000002760003184": Behaviour("visa", authentication="always"),
    "4000000000003220": Behaviour("visa", authentication="always"),
    "4000000000000259": Behaviour("visa", dispute="fraudulent"),
    "4000000000001976": Behaviour("visa", dispute="inquiry"),
    "4000000000005126": Behaviour("visa", refund="fails_later"),
    "4000000000007726": Behaviour("visa", refund="pending"),
    "4000000000000002": Behaviour("visa", decline=_GENERIC),
    "4000000000009995": Behaviour("visa", decline=_FUNDS),
    "4000000000009987": Behaviour(
        "visa", decline=Decline("card_declined", "lost_card", _GENERIC.message)
    ),
    "4000000000009979": Behaviour(
        "visa", decline=Decline("card_declined", "stolen_card", _GENERIC.message)
    ),
    "4000000000000069": Behaviour(
        "visa", decline=Decline("expired_card", "expired_card", "Your card has expired.")
    ),
    "4000000000000127": Behaviour(
        "visa",
        decline=Decline(
            "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."
        ),
    ),
    "4000000000000119": Behaviour(
        "visa",
        decline=Decline(
            "processing_error",
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
}
_TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createDisputeInquiry": "4000000000001976",
    "pm_card_refundFail": "4000000000005126",
    "pm_card_pendingRefund": "4000000000007726",
}


def _fingerprint(digits: str) -> str:
    return hashlib.sha256(f"sandbox card {digits}".encode()).hexdigest()[:16]


_BY_FINGERPRINT = {_fingerprint(digits): found for digits, found in _KNOWN.items()}


def behaviour_of(fingerprint: str) -> Behaviour:
    """What a card that was kept does."""
    return _BY_FINGERPRINT.get(fingerprint, Behaviour("unknown", decline=_LIVE))


def token_card(token: str, now: int) -> Card | None:
    """The card of one of Stripe's test tokens, such as `pm_card_visa`; `now` in Unix seconds."""
    digits = _TOKENS.get(token)
    if digits is None:
        return None
    year = datetime.fromtimestamp(now, UTC).year + 4
    return Card(digits[-4:], 8, year, _fingerprint(digits), _KNOWN[digits])


def read_card(number: str, expiry: str, cvc: str, now: int) -> Card:
    """What the payer typed, as a card. `now` is in Unix seconds.

    Raises CardRefused whose `param` is `number`, `exp_month`, `exp_year` or `cvc`.
    """
    digits = _digits(number)
    month, year = _expiry(expiry, now)
    brand = "visa" if digits[0] == "4" else "unknown"
    found = _KNOWN.get(digits, Behaviour(brand, decline=_LIVE))
    if not re.fullmatch(r"[0-9]{4}" if found.brand == "amex" else r"[0-9]{3}", cvc.strip()):
        raise CardRefused(
            "Your card's security code is incomplete.", code="invalid_cvc", param="cvc"
        )
    return Card(digits[-4:], month, year, _fingerprint(digits), found)


def _digits(number: str) -> str:
    digits = re.sub(r"[ -]", "", number.strip())
    if not re.fullmatch(r"[0-9]{12,19}", digits):
        raise CardRefused("Your card number is incomplete.", code="invalid_number", param="number")
    if not _luhn(digits):
        raise CardRefused("Your card number is invalid.", code="incorrect_number", param="number")
    return digits


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _expiry(expiry: str, now: int) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,2})\s*[/-]?\s*([0-9]{2}|20[0-9]{2})", expiry.strip())
    if not found or not 1 <= int(found[1]) <= 12:
        raise CardRefused(
            "Your card's expiry date is invalid: write it as MM / YY.",
            code="invalid_expiry_month",
            param="exp_month",
        )
    month, year = int(found[1]), int(found[2]) % 100 + 2000
    today = datetime.fromtimestamp(now, UTC)
    if (year, month) < (today.year, today.month):
        raise CardRefused(
            "Your card's expiry date is in the past.", code="invalid_expiry_year", param="exp_year"
        )
    if year > today.year + 50:
        raise CardRefused(
            "Your card's expiry year is invalid.", code="invalid_expiry_year", param="exp_year"
        )
    return month, year
