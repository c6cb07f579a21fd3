"""Exact numbers in words: sums that can be checked with a pocket calculator."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from billing.models.catalogue import HOURS_PER_MONTH
from portal.lib.money import MICROS, MICROSECONDS_PER_HOUR, format_money


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


def hours(microseconds: int) -> str:
    """`1.234567`: hours to the sixth place, half up; for reading, not for multiplying."""
    value = Decimal(microseconds) / MICROSECONDS_PER_HOUR
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def percent(ppm: int | None) -> str:
    """`63.4 %`, or nothing where it is not known."""
    return "" if ppm is None else f"{ppm / 10_000:.1f} %"


def fraction(micros: Fraction) -> str:
    """`-$0.000000334`: less than a micro-unit, to the ninth place or the first that is not zero."""
    if micros == 0:
        return "$0"
    places, value = 9, micros / MICROS
    while places < 15 and abs(value) * 10**places < 1:
        places += 1
    digits = round(abs(value) * 10**places)
    text = f"${digits // 10**places}.{digits % 10**places:0{places}d}"
    return f"-{text}" if micros < 0 else text
