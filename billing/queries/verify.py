"""An invoice worked out again from the raw intervals, without anything that rating has stored.

Each amount is `floor(price x quantity x time)` at the line's end less that at its start, with the
time from the interval itself. What was learned after the close is on later invoices: a line is
right when it and those corrections together are what the interval says today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, Sum

from billing.choices import InvoiceKind, LineKind
from billing.models import Invoice, InvoiceLine, RatedUsage, UsageCredit, UsageInterval
from billing.queries.periods import period_of
from portal.lib.money import cost_micros, duration_us, from_cents, to_cents

_CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What a figure of the invoice should be by the raw records, and what it is; micro-units."""

    subject: str
    expected: int
    actual: int


def mismatches(invoice: Invoice) -> Iterator[Mismatch]:
    """Every difference, in the order of the document; nothing when the invoice is right.

    Reads a fixed number of rows at a time, however many lines there are.
    """
    if invoice.kind == InvoiceKind.USAGE:
        yield from _lines(invoice)
        yield from _unbilled(invoice)
    yield from _sums(invoice)


def _lines(invoice: Invoice) -> Iterator[Mismatch]:
    lines = invoice.lines.filter(interval__isnull=False).order_by("pk")
    chunk: list[InvoiceLine] = []
    for line in lines.select_related("interval__price").iterator(chunk_size=_CHUNK):
        chunk.append(line)
        if len(chunk) == _CHUNK:
            yield from _chunk(invoice, chunk)
            chunk = []
    yield from _chunk(invoice, chunk)


def _chunk(invoice: Invoice, lines: list[InvoiceLine]) -> Iterator[Mismatch]:
    ids = [line.interval_id for line in lines]
    credits = dict(
        UsageCredit.objects.filter(interval__in=ids).values_list("interval", "amount_micros")
    )
    # A slice of this month that a later month has taken back in part.
    later = RatedUsage.objects.filter(interval__in=ids, period_start__gt=invoice.period_start)
    corrections: dict[int | None, list[RatedUsage]] = {}
    for piece in later:
        corrections.setdefault(piece.interval_id, []).append(piece)
    for line in lines:
        expected = _expected(invoice, line, credits, corrections.get(line.interval_id, []))
        if expected != line.amount_micros:
            yield Mismatch(f"line {line.pk}, {line.label}", expected, line.amount_micros)


def _expected(
    invoice: Invoice,
    line: InvoiceLine,
    credits: dict[int, int],
    corrections: list[RatedUsage],
) -> int:
    interval = line.interval
    assert interval is not None  # noqa: S101  # the caller asked for those with one
    assert line.started_at is not None  # noqa: S101  # a constraint of the table
    assert line.ended_at is not None  # noqa: S101  # a constraint of the table
    if line.kind == LineKind.SERVICE:
        return -credits.get(interval.pk, 0)
    if line.kind == LineKind.ADJUSTMENT:
        return _worth(interval, line.ended_at) - _worth(interval, line.started_at)
    assert invoice.period_start is not None  # noqa: S101  # usage has a period
    assert invoice.period_end is not None  # noqa: S101  # usage has a period
    start = max(interval.started_at, invoice.period_start)
    end = min(_end(interval), invoice.period_end)
    truth = _cost(interval, max(start, end)) - _cost(interval, start)
    return truth - sum(piece.amount_micros for piece in corrections if _is_of(piece, invoice))


def _is_of(piece: RatedUsage, invoice: Invoice) -> bool:
    """Whether a slice is of time in the invoice's month, whenever it counts."""
    return period_of(min(piece.segment_start, piece.segment_end))[0] == invoice.period_start


def _unbilled(invoice: Invoice) -> Iterator[Mismatch]:
    """Use that the month holds and no line speaks of, now or as a later correction."""
    assert invoice.period_start is not None  # noqa: S101  # usage has a period
    assert invoice.period_end is not None  # noqa: S101  # usage has a period
    used = UsageInterval.objects.filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=invoice.period_start),
        account=invoice.account,
        started_at__lt=invoice.period_end,
    )
    billed = invoice.lines.filter(interval__isnull=False).values("interval")
    for interval in used.exclude(pk__in=billed).select_related("price").iterator(_CHUNK):
        start = max(interval.started_at, invoice.period_start)
        end = max(start, min(_end(interval), invoice.period_end))
        owed = _cost(interval, end) - _cost(interval, start)
        later = interval.rated.filter(period_start__gt=invoice.period_start)
        corrected = sum(piece.amount_micros for piece in later if _is_of(piece, invoice))
        if owed != corrected:
            subject = f"{interval.resource_label} ({interval.resource_public_id}) has no line"
            yield Mismatch(subject, owed, corrected)


def _sums(invoice: Invoice) -> Iterator[Mismatch]:
    lines = invoice.lines.aggregate(total=Sum("amount_micros", default=0))["total"]
    exact = invoice.lines.exclude(kind=LineKind.ROUNDING).aggregate(
        total=Sum("amount_micros", default=0)
    )["total"]
    taxes = list(invoice.taxes.all())
    owed = sum(_tax(tax.base_micros, tax.rate_ppm) for tax in taxes)
    for subject, expected, actual in (
        ("the lines together", invoice.net_micros, lines),
        ("the net amount", from_cents(to_cents(exact)), invoice.net_micros),
        ("the taxable amounts together", invoice.net_micros, sum(tax.base_micros for tax in taxes)),
        ("the tax", owed, invoice.tax_micros),
        ("the total", invoice.net_micros + invoice.tax_micros, invoice.total_micros),
    ):
        if expected != actual:
            yield Mismatch(subject, expected, actual)


def _tax(base_micros: int, rate_ppm: int) -> int:
    cents, rest = divmod(abs(to_cents(base_micros)) * rate_ppm, 1_000_000)
    whole = from_cents(cents + (rest * 2 >= 1_000_000))
    return whole if base_micros >= 0 else -whole


def _end(interval: UsageInterval) -> datetime:
    """Until when it may be billed: its end, its last proof of life, or what was rated so far."""
    if interval.ended_at is not None:
        return interval.ended_at
    return interval.rated_until


def _cost(interval: UsageInterval, at: datetime) -> int:
    """What it has come to by `at`, or by its end."""
    return _worth(interval, min(at, _end(interval)))


def _worth(interval: UsageInterval, at: datetime) -> int:
    """What it would have come to by `at`, whether it had ended or not."""
    used = duration_us(interval.started_at, at)
    price = interval.price
    return cost_micros(price.unit_micros, interval.quantity, used, unit_hours=price.unit_hours)
