"""Exact numbers in words: sums that can be checked with a pocket calculator."""

from __future__ import annotations

from decimal import Decimal

from portal.lib.money import MICROS, format_money


def exact(micros: int) -> str:
    """`$0.123456`: to the micro-unit."""
    return format_money(micros, digits=6)


def price(micros_per_hour: int) -> str:
    """`$2.10/h`, with as many places as the price has, two at least."""
    places = 6
    while places > 2 and micros_per_hour % 10 ** (7 - places) == 0:
        places -= 1
    return f"{format_money(micros_per_hour, digits=places)}/h"


def exact_seconds(microseconds: int) -> str:
    """`1,234.5`: to the microsecond, without trailing zeros."""
    return f"{(Decimal(microseconds) / MICROS).normalize():,f}"
