"""Documents about money: what they say never changes once they have a number."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.choices import (
    FileKind,
    InvoiceKind,
    InvoiceStatus,
    LineKind,
    RefundStatus,
    TaxPoint,
)
from portal.lib import clock, ids

_UNNUMBERED = Q(number__isnull=True, series__isnull=True, reference="", issued_at__isnull=True)
_NUMBERED = Q(number__isnull=False, series__isnull=False, issued_at__isnull=False)


def _public_id() -> str:
    return ids.new_id("inv")


def _note_id() -> str:
    return ids.new_id("cn")


class InvoiceSeries(models.Model):
    """A run of numbers without gaps. Its row is locked by whoever takes numbers, till they commit.

    A sequence of the database would leave gaps where a transaction is rolled back.
    """

    prefix = models.CharField(max_length=20, unique=True)
    next_number = models.BigIntegerField(default=1)

    class Meta:
        verbose_name_plural = "invoice series"
        constraints = [
            models.CheckConstraint(condition=Q(next_number__gte=1), name="series_counts_from_one")
        ]

    def __str__(self) -> str:
        return self.prefix


class Invoice(models.Model):
    """What one account used in `[period_start, period_end)`, or one payment of it.

    A draft has no lines of its own: it is read from what is rated. The month close writes them and
    gives the number; after that only the status moves, which the database holds. `seller` and
    `buyer` are as of the day of issue. Sums in micro-units of whole cents: `total = net + tax`, of
    which `credit_micros` was paid from credit and `due_micros` was open on that day.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="invoices"
    )
    kind = models.CharField(max_length=8, choices=InvoiceKind, default=InvoiceKind.USAGE)
    status = models.CharField(max_length=14, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    series = models.ForeignKey(
        InvoiceSeries, on_delete=models.PROTECT, null=True, related_name="invoices"
    )
    number = models.BigIntegerField(null=True)
    reference = models.CharField(max_length=40, blank=True, default="")
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    payment = models.OneToOneField(
        "billing.Payment", on_delete=models.PROTECT, null=True, related_name="document"
    )
    currency = models.CharField(max_length=3)
    issued_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    seller = models.JSONField(default=dict)
    buyer = models.JSONField(default=dict)
    tax_point = models.CharField(max_length=5, choices=TaxPoint, blank=True, default="")
    net_micros = models.BigIntegerField(default=0)
    tax_micros = models.BigIntegerField(default=0)
    total_micros = models.BigIntegerField(default=0)
    credit_micros = models.BigIntegerField(default=0)
    due_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "period_start"],
                condition=Q(kind=InvoiceKind.USAGE),
                name="invoice_one_a_period",
            ),
            models.UniqueConstraint(fields=["series", "number"], name="invoice_number_once"),
            models.CheckConstraint(
                condition=(Q(status=InvoiceStatus.DRAFT) & _UNNUMBERED)
                | (~Q(status=InvoiceStatus.DRAFT) & _NUMBERED & ~Q(reference="")),
                name="invoice_final_has_number",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind=InvoiceKind.USAGE,
                    period_end__gt=F("period_start"),
                    payment__isnull=True,
                )
                | (
                    ~Q(kind=InvoiceKind.USAGE)
                    & Q(period_start__isnull=True, period_end__isnull=True, payment__isnull=False)
                ),
                name="invoice_period",
            ),
            models.CheckConstraint(
                condition=Q(total_micros=F("net_micros") + F("tax_micros"))
                & Q(total_micros=F("credit_micros") + F("due_micros"), due_micros__gte=0),
                name="invoice_sums",
            ),
            models.CheckConstraint(
                condition=~Q(status=InvoiceStatus.PAID) | Q(paid_at__isnull=False),
                name="invoice_paid_when",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="invoice_account"),
            models.Index(
                fields=["account", "period_start"],
                condition=Q(status=InvoiceStatus.FINAL),
                name="invoice_open",
            ),
        ]

    def __str__(self) -> str:
        return self.reference or self.public_id

    @property
    def is_draft(self) -> bool:
        """Whether it still follows usage."""
        return self.status == InvoiceStatus.DRAFT


class InvoiceLine(models.Model):
    """`quantity x price x time = amount`, micro-units, as it stood when the month was closed.

    Time given back runs backwards: `ended_at` before `started_at`, `microseconds` negative. What is
    no usage has no interval. `idle_micros` of the amount went on GPUs that did nothing, where
    telemetry covers the time.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    kind = models.CharField(max_length=10, choices=LineKind, default=LineKind.USAGE)
    interval = models.ForeignKey(
        "billing.UsageInterval",
        on_delete=models.PROTECT,
        null=True,
        related_name="invoice_lines",
        db_index=False,
    )
    label = models.CharField(max_length=300)
    sku_label = models.CharField(max_length=120, blank=True, default="")
    quantity = models.PositiveIntegerField(default=1)
    unit_micros = models.BigIntegerField(default=0)
    unit_hours = models.PositiveIntegerField(default=1)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    microseconds = models.BigIntegerField(default=0)
    amount_micros = models.BigIntegerField()
    utilization_ppm = models.PositiveIntegerField(null=True)
    idle_micros = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(interval__isnull=True)
                | Q(started_at__isnull=False, ended_at__isnull=False),
                name="line_of_usage_has_time",
            )
        ]

    def __str__(self) -> str:
        return self.label


class InvoiceTax(models.Model):
    """The tax on all of an invoice that is taxed at one rate: rounded to the cent once."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="taxes")
    name = models.CharField(max_length=40, blank=True, default="")
    jurisdiction = models.CharField(max_length=64, blank=True, default="")
    rate_ppm = models.PositiveIntegerField()
    base_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField()
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invoice", "rate_ppm", "note"], name="tax_once_a_rate")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.rate_ppm / 10_000:g} %"


class CreditNote(models.Model):
    """Takes back an invoice or part of it. Positive amounts, whole cents, micro-units.

    `entry` is what it moved in the ledger; None where a refund, whose note it is, had done that.
    Such a one is void once the bank has sent the refund back: it takes back nothing any more.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_note_id, editable=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    series = models.ForeignKey(InvoiceSeries, on_delete=models.PROTECT, related_name="credit_notes")
    number = models.BigIntegerField()
    reference = models.CharField(max_length=40)
    reason = models.CharField(max_length=300)
    issued_at = models.DateTimeField()
    net_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField()
    total_micros = models.BigIntegerField()
    seller = models.JSONField()
    buyer = models.JSONField()
    refund = models.OneToOneField(
        "billing.Refund", on_delete=models.PROTECT, null=True, related_name="credit_note"
    )
    entry = models.OneToOneField(
        "billing.JournalEntry", on_delete=models.PROTECT, null=True, related_name="credit_note"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["series", "number"], name="note_number_once"),
            models.CheckConstraint(
                condition=Q(total_micros=F("net_micros") + F("tax_micros"))
                & Q(net_micros__gte=0, tax_micros__gte=0, total_micros__gt=0),
                name="note_sums",
            ),
            models.CheckConstraint(
                condition=Q(entry__isnull=False) | Q(refund__isnull=False), name="note_is_of_money"
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def is_void(self) -> bool:
        """Whether its refund came back."""
        return self.refund is not None and self.refund.status == RefundStatus.FAILED


class CreditNoteLine(models.Model):
    """How much of which line of the invoice is taken back, net, in its direction."""

    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    invoice_line = models.ForeignKey(
        InvoiceLine, on_delete=models.PROTECT, related_name="credit_note_lines"
    )
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["credit_note", "invoice_line"], name="note_line_once"),
            models.CheckConstraint(condition=~Q(amount_micros=0), name="note_line_not_zero"),
        ]


class DocumentFile(models.Model):
    """A file that was handed out: the same document gives the same bytes, or a new row here."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="files")
    credit_note = models.ForeignKey(
        CreditNote, on_delete=models.PROTECT, null=True, related_name="files"
    )
    kind = models.CharField(max_length=4, choices=FileKind)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "kind", "sha256"], name="file_of_invoice_once"
            ),
            models.UniqueConstraint(
                fields=["credit_note", "kind", "sha256"], name="file_of_note_once"
            ),
            models.CheckConstraint(
                condition=Q(invoice__isnull=False, credit_note__isnull=True)
                | Q(invoice__isnull=True, credit_note__isnull=False),
                name="file_of_one_document",
            ),
        ]
