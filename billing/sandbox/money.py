"""Amounts as Stripe counts them: whole numbers of the currency's smallest unit."""

from __future__ import annotations

from billing.sandbox.errors import InvalidRequest

MAX_AMOUNT = 99_999_999
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
_WHOLE = {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "xaf"}
_MINIMUM = {
    "usd": 50, "eur": 50, "gbp": 30, "chf": 50, "cad": 50, "aud": 50, "jpy": 50, "sek": 300,
    "nok": 300, "dkk": 250, "pln": 200, "czk": 1500, "huf": 17500, "inr": 50,
}  # fmt: skip


def check_currency(code: str, param: str) -> str:
    """The code in lower case; raises InvalidRequest unless the sandbox settles in it."""
    lower = code.lower()
    if lower not in _MINIMUM:
        known = ", ".join(sorted(_MINIMUM))
        raise InvalidRequest(
            f"Invalid currency: {lower[:10]}. The sandbox knows these: {known}", param=param
        )
    return lower


def check_amount(amount: int, currency: str, what: str) -> None:
    """Raises InvalidRequest below Stripe's minimum charge or above its maximum."""
    least = _MINIMUM[currency]
    if amount < least:
        raise InvalidRequest(
            f"{what} must be at least {display(least, currency)}", code="amount_too_small"
        )
    if amount > MAX_AMOUNT:
        raise InvalidRequest(
            f"{what} must be no more than {display(MAX_AMOUNT, currency)}", code="amount_too_large"
        )


def display(amount: int, currency: str) -> str:
    """`$1,234.50`, or `1,234.50 SEK` where the currency has no sign here."""
    if currency in _WHOLE:
        number = f"{amount:,}"
    else:
        sign = "-" if amount < 0 else ""
        number = f"{sign}{abs(amount) // 100:,}.{abs(amount) % 100:02}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency.upper()}"


def fee(amount: int) -> int:
    """What Stripe keeps of a card payment: 2.9 % rounded to the nearest unit, and 30."""
    return (amount * 29 + 500) // 1000 + 30
