"""Our books against Stripe's, and against each other."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.choices import BreakKind
from portal.lib import clock


class PspTransaction(models.Model):
    """One movement of our balance at Stripe, in cents of `currency`: `net = amount - fee`."""

    stripe_id = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=40)
    source = models.CharField(max_length=100, blank=True, default="")
    amount_cents = models.BigIntegerField()
    fee_cents = models.BigIntegerField()
    net_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField()
    entry = models.OneToOneField(
        "billing.JournalEntry", on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(net_cents=models.F("amount_cents") - models.F("fee_cents")),
                name="psp_transaction_net",
            )
        ]


class ReconciliationRun(models.Model):
    """One comparison of all books. `finished_at` is empty while it runs or when it died."""

    started_at = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True)
    checked = models.JSONField(default=dict)
    error = models.TextField(blank=True, default="")


class ReconciliationBreak(models.Model):
    """A difference. It stays open until a later run does not find it, or staff explain it."""

    kind = models.CharField(max_length=20, choices=BreakKind)
    subject = models.CharField(max_length=120)
    expected = models.CharField(max_length=300)
    actual = models.CharField(max_length=300)
    opened_at = models.DateTimeField(default=clock.now)
    last_seen_at = models.DateTimeField(default=clock.now)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(resolved_at__isnull=True),
                name="break_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"
