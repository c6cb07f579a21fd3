"""Invoices: aggregates of what was posted."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.choices import InvoiceStatus
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("inv")


class Invoice(models.Model):
    """The usage of one account in `[period_start, period_end)`."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="invoices"
    )
    status = models.CharField(max_length=14, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    total_micros = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "period_start"], name="invoice_one_a_period"
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")), name="invoice_period"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class InvoiceLine(models.Model):
    """One resource's usage at one price."""

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    interval = models.ForeignKey(
        "billing.UsageInterval", on_delete=models.PROTECT, related_name="invoice_lines"
    )
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invoice", "interval"], name="invoice_line_once")
        ]
