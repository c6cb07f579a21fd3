"""The double-entry journal. Only `billing.actions.ledger` writes here; triggers hold the rest."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.choices import AccountCode, EntryKind, LotKind
from billing.models.labels import Labelled
from portal.lib import clock


class LedgerAccount(models.Model):
    """A line of the chart, for a team or for the house. `balance_micros` caches its postings."""

    code = models.CharField(max_length=30, choices=AccountCode)
    account = models.ForeignKey(
        "billing.BillingAccount",
        on_delete=models.PROTECT,
        null=True,
        related_name="ledger_accounts",
    )
    currency = models.CharField(max_length=3)
    balance_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["code", "account", "currency"],
                name="ledger_account_unique",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                # Credit is a liability: it stands at or below zero, or somebody spent too much.
                condition=~Q(code__in=[AccountCode.CUSTOMER_CREDIT, AccountCode.PROMO_CREDIT])
                | Q(balance_micros__lte=0),
                name="ledger_credit_floor",
            ),
        ]


class JournalEntry(models.Model):
    """One event in money. Its postings sum to zero per currency, or the commit fails."""

    kind = models.CharField(max_length=20, choices=EntryKind)
    idempotency_key = models.CharField(max_length=200, unique=True)
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=clock.now, editable=False)
    memo = models.CharField(max_length=300, blank=True, default="")
    actor = models.CharField(max_length=120, default="system")
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="reversed_by"
    )

    class Meta:
        verbose_name_plural = "journal entries"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class Posting(models.Model):
    """One side of an entry; debit positive. Never updated, never deleted."""

    entry = models.ForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="postings")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="postings")
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount_micros=0), name="posting_not_zero")
        ]


class CreditLot(models.Model):
    """Credit that came in at once and is used up in a fixed order."""

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="lots"
    )
    kind = models.CharField(max_length=12, choices=LotKind)
    amount_micros = models.BigIntegerField()
    remaining_micros = models.BigIntegerField()
    expires_at = models.DateTimeField(null=True)
    entry = models.ForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="lots")
    payment = models.ForeignKey(
        "billing.Payment", on_delete=models.PROTECT, null=True, related_name="lots"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(remaining_micros__gte=0) & Q(remaining_micros__lte=F("amount_micros")),
                name="lot_remaining_in_bounds",
            )
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=Q(remaining_micros__gt=0), name="lot_expiring"
            )
        ]

    def is_expired(self) -> bool:
        """Whether its time is over; what was left is gone then."""
        return self.expires_at is not None and self.expires_at <= clock.now()


class LotConsumption(models.Model):
    """What one entry took out of one lot, or gave back to it where it is below zero."""

    lot = models.ForeignKey(CreditLot, on_delete=models.PROTECT, related_name="consumptions")
    entry = models.ForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="consumptions")
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["lot", "entry"], name="lot_entry_once"),
            models.CheckConstraint(condition=~Q(amount_micros=0), name="consumption_not_zero"),
        ]


class Hold(Labelled):
    """Funds set aside for a resource until its usage is posted. Available = balance - holds."""

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="holds"
    )
    resource_kind = models.CharField(max_length=20)
    resource_id = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    created_at = models.DateTimeField(default=clock.now, editable=False)
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["resource_kind", "resource_id"],
                condition=Q(released_at__isnull=True),
                name="hold_one_open",
            ),
            models.CheckConstraint(condition=Q(amount_micros__gte=0), name="hold_not_negative"),
        ]
        indexes = [
            models.Index(
                fields=["account"], condition=Q(released_at__isnull=True), name="hold_open"
            )
        ]
