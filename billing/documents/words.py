"""Exact numbers in words: sums that can be checked with a pocket calculator."""

from __future__ import annotations

from decimal import Decimal

from billing.models.catalogue import HOURS_PER_MONTH
from portal.lib.money import MICROS, format_money


def exact(micros: int) -> str:
    """`$0.123456`: to the micro-unit."""
    return format_money(micros, digits=6)


def price(micros_per_hour: int) -> str:
    """`$2.10/h`, with as many places as the price has, two at least."""
    return unit_price(micros_per_hour)


def unit_price(unit_micros: int, unit_hours: int = 1) -> str:
    """`$2.10/h` or `$0.07/month`, with as many places as the price has, two at least."""
    places = 6
    while places > 2 and unit_micros % 10 ** (7 - places) == 0:
        places -= 1
    spans = {1: "h", HOURS_PER_MONTH: "month"}
    return f"{format_money(unit_micros, digits=places)}/{spans.get(unit_hours, f'{unit_hours} h')}"


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def spell_time(microseconds: int) -> str:
    """`12 min 4 s`, rounded down to the second; for sentences."""
    seconds, words = microseconds // MICROS, []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count:,} {unit}")
    return " ".join([*words, f"{seconds} s"])


def exact_seconds(microseconds: int) -> str:
    """`1,234.5`: to the microsecond, without trailing zeros."""
    return f"{(Decimal(microseconds) / MICROS).normalize():,f}"
