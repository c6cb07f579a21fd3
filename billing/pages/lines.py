"""Usage as the page shows it: each amount with the sum behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from billing.documents.words import exact, exact_seconds, fraction, percent, price, unit_price
from billing.queries.usage import Part, UsageLine
from billing.queries.use import Use
from portal.lib.money import MICROSECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class PartShown:
    """`quantity x price x time / divisor = amount`, all of it exact; what is given back by it."""

    quantity: int
    sku_label: str
    price_text: str
    time_text: str
    amount_text: str
    divisor_text: str
    credit_text: str
    credit_words: str
    attempt: int
    rounding_text: str
    use_text: str
    idle_text: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it still grows."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class LineShown:
    """One run of the period."""

    label: str
    public_id: str
    quantity: int
    sku_label: str
    seconds: float
    rate_text: str
    amount_micros: int
    amount_text: str
    burn_micros: int
    is_open: bool
    parts: tuple[PartShown, ...]


def line_shown(line: UsageLine) -> LineShown:
    """The words for one line."""
    return LineShown(
        label=line.label,
        public_id=line.public_id,
        quantity=line.quantity,
        sku_label=line.parts[-1].sku_label,
        seconds=line.seconds,
        rate_text=price(line.micros_per_hour * line.quantity),
        amount_micros=line.amount_micros,
        amount_text=exact(line.amount_micros),
        burn_micros=line.burn_micros_per_hour,
        is_open=line.is_open,
        parts=tuple(_part_shown(part) for part in line.parts),
    )


def _part_shown(part: Part) -> PartShown:
    return PartShown(
        quantity=part.quantity,
        sku_label=part.sku_label,
        price_text=unit_price(part.unit_micros, part.unit_hours),
        divisor_text=f"{part.unit_hours * 3600}",
        credit_text=exact(-part.credit.amount_micros) if part.credit else "",
        credit_words=part.credit.words if part.credit else "",
        time_text=exact_seconds(part.microseconds),
        amount_text=exact(part.amount_micros),
        attempt=part.attempt,
        rounding_text=fraction(_rounding(part)),
        use_text=percent(part.use.utilization_ppm) if part.use else "",
        idle_text=exact(_idle_micros(part, part.use)) if part.use else "",
        started_at=part.started_at,
        ended_at=part.ended_at,
    )


def _idle_micros(part: Part, use: Use) -> int:
    """Never more than the amount: the last second that was measured may lie half outside it."""
    return min(part.amount_micros, use.idle_micros(part.unit_micros, part.unit_hours))


def _rounding(part: Part) -> Fraction:
    """Micro-units that were rounded away."""
    product = part.unit_micros * part.quantity * part.microseconds
    return part.amount_micros - Fraction(product, part.unit_hours * MICROSECONDS_PER_HOUR)
