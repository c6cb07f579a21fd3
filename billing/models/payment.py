"""Money coming in through Stripe."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.choices import PaymentStatus, WebhookStatus
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("pay")


class Payment(models.Model):
    """A top-up from intent to credit. Its key is kept before Stripe is called."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="payments"
    )
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=12, choices=PaymentStatus, default=PaymentStatus.DRAFT)
    idempotency_key = models.CharField(max_length=80, unique=True)
    checkout_session_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    payment_intent_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    entry = models.OneToOneField(
        "billing.JournalEntry", on_delete=models.PROTECT, null=True, related_name="payment"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="payment_positive"),
            models.CheckConstraint(
                condition=~Q(status=PaymentStatus.SUCCEEDED) | Q(entry__isnull=False),
                name="payment_paid_has_entry",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class WebhookEvent(models.Model):
    """A delivery from Stripe, stored before it is looked at."""

    stripe_event_id = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=80)
    body = models.TextField()
    status = models.CharField(max_length=10, choices=WebhookStatus, default=WebhookStatus.RECEIVED)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    received_at = models.DateTimeField(default=clock.now, editable=False)
    processed_at = models.DateTimeField(null=True)
