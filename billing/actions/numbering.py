"""Numbers of documents: one after the other, none left out."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from billing.models import InvoiceSeries


@dataclass(frozen=True, slots=True)
class Numbers:
    """`count` numbers of a series from `first` on."""

    series: InvoiceSeries
    first: int
    count: int

    def reference(self, offset: int) -> str:
        """The number as documents print it."""
        return f"{self.series.prefix}{self.first + offset:06d}"


def invoice_numbers(count: int) -> Numbers:
    """Numbers of invoices."""
    return _take(settings.INVOICE_PREFIX, count)


def credit_note_numbers(count: int) -> Numbers:
    """Numbers of credit notes, a series of their own."""
    return _take(f"{settings.INVOICE_PREFIX}CN-", count)


def receipt_numbers(count: int) -> Numbers:
    """Numbers of receipts, which are no invoices."""
    return _take(f"{settings.INVOICE_PREFIX}R-", count)


def _take(prefix: str, count: int) -> Numbers:
    """The series stays locked until the caller's transaction ends: what it rolls back is free.

    Take numbers last, when nothing can fail any more: others wait meanwhile.
    """
    InvoiceSeries.objects.get_or_create(prefix=prefix)
    series = InvoiceSeries.objects.select_for_update().get(prefix=prefix)
    first = series.next_number
    if count:
        series.next_number += count
        series.save(update_fields=["next_number"])
    return Numbers(series, first, count)
