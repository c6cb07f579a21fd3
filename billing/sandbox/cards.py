"""Stripe's test cards: which numbers there are and what the bank says to each.

A card's number and security code are looked at and forgotten; only brand, last four digits and a
fingerprint are kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from billing.sandbox.errors import CardRefused


@dataclass(frozen=True, slots=True)
class Decline:
    """Stripe's `code`, the bank's `decline_code`, and the sentence the payer reads."""

    code: str
    decline_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Card:
    """A card whose details are well formed. `decline` is what its bank will answer, if not yes."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    decline: Decline | None


_GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
_LIVE = Decline(
    "card_declined",
    "test_mode_live_card",
    "Your card was declined. This is test mode: use a test card number.",
)
_KNOWN: dict[str, tuple[str, Decline | None]] = {
    "4242424242424242": ("visa", None),
    "4000056655665556": ("visa", None),
    "5555555555554444": ("mastercard", None),
    "378282246310005": ("amex", None),
    "4000000000000002": ("visa", _GENERIC),
    "4000000000009995": ("visa", _FUNDS),
    "4000000000009987": ("visa", Decline("card_declined", "lost_card", _GENERIC.message)),
    "4000000000009979": ("visa", Decline("card_declined", "stolen_card", _GENERIC.message)),
    "4000000000000069": (
        "visa",
        Decline("expired_card", "expired_card", "Your card has expired."),
    ),
    "4000000000000127": (
        "visa",
        Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."),
    ),
    "4000000000000119": (
        "visa",
        Decline(
            "processing_error",
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
}


def read_card(number: str, expiry: str, cvc: str, now: int) -> Card:
    """What the payer typed, as a card. `now` is in Unix seconds.

    Raises CardRefused whose `param` is `number`, `exp_month`, `exp_year` or `cvc`.
    """
    digits = _digits(number)
    month, year = _expiry(expiry, now)
    brand, decline = _KNOWN.get(digits, ("visa" if digits[0] == "4" else "unknown", _LIVE))
    if not re.fullmatch(r"[0-9]{4}" if brand == "amex" else r"[0-9]{3}", cvc.strip()):
        raise CardRefused(
            "Your card's security code is incomplete.", code="invalid_cvc", param="cvc"
        )
    fingerprint = hashlib.sha256(f"sandbox card {digits}".encode()).hexdigest()[:16]
    return Card(brand, digits[-4:], month, year, fingerprint, decline)


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
