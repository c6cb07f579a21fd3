"""Money as integer micro-units (1e-6 of the currency). No float ever touches an amount."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

MICROS = 1_000_000
MICROS_PER_CENT = 10_000
MICROSECONDS_PER_HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)


def duration_us(start: datetime, end: datetime) -> int:
    """Whole microseconds of the half-open period `[start, end)`; 0 when it is empty."""
    return max(0, (end - start) // _MICROSECOND)


def cost_micros(unit_micros: int, quantity: int, microseconds: int, *, unit_hours: int = 1) -> int:
    """`floor(price x quantity x time)`: the cumulative cost, rounded down once, never per tick.

    `unit_micros` is what one unit costs in `unit_hours` hours.
    """
    return unit_micros * quantity * microseconds // (unit_hours * MICROSECONDS_PER_HOUR)


def micros_per_hour(unit_micros: int, quantity: int = 1, *, unit_hours: int = 1) -> int:
    """What `quantity` units cost an hour, rounded up: what costs anything never burns nothing."""
    return -(-unit_micros * quantity // unit_hours)


def from_cents(cents: int) -> int:
    """Cents, as Stripe counts, to micro-units."""
    return cents * MICROS_PER_CENT


def to_cents(micros: int) -> int:
    """Micro-units to cents, half up: only for Stripe and for invoice totals."""
    return int((Decimal(micros) / MICROS_PER_CENT).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_money(micros: int, *, digits: int = 2) -> str:
    """`-1234567890` -> `-$1,234.57`. Rounds half up at `digits` decimals; for people only."""
    quantum = Decimal(1).scaleb(-digits)
    amount = (Decimal(abs(micros)) / MICROS).quantize(quantum, rounding=ROUND_HALF_UP)
    sign = "-" if micros < 0 and amount else ""
    return f"{sign}${amount:,}"
