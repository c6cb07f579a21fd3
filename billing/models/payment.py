"""Money coming in through Stripe, and going back."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.choices import DisputeStatus, PaymentPurpose, PaymentStatus, RefundStatus
from portal.lib import clock, ids

# Money may still move: one automatic payment of an account at a time may be here.
IN_FLIGHT = (
    PaymentStatus.DRAFT,
    PaymentStatus.SUBMITTED,
    PaymentStatus.REQUIRES_ACTION,
    PaymentStatus.PROCESSING,
)


def _public_id() -> str:
    return ids.new_id("pay")


def _refund_id() -> str:
    return ids.new_id("ref")


class Payment(models.Model):
    """A payment from intent to credit. Its key is kept before Stripe is called.

    `amount_micros` is what the card pays: `net_micros` of credit and `tax_micros` of tax.
    `request` is what was sent to Stripe: sent again it has to be the same, word for word.
    `looked_at` is when recovery last asked what became of it.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="payments"
    )
    purpose = models.CharField(max_length=12, choices=PaymentPurpose, default=PaymentPurpose.TOP_UP)
    invoice = models.ForeignKey(
        "billing.Invoice", on_delete=models.PROTECT, null=True, related_name="payments"
    )
    card = models.ForeignKey(
        "billing.PaymentMethod", on_delete=models.PROTECT, null=True, related_name="payments"
    )
    amount_micros = models.BigIntegerField()
    net_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField(default=0)
    refunded_micros = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=16, choices=PaymentStatus, default=PaymentStatus.DRAFT)
    failure_code = models.CharField(max_length=60, blank=True, default="")
    failure_message = models.CharField(max_length=300, blank=True, default="")
    idempotency_key = models.CharField(max_length=80, unique=True)
    request = models.JSONField(default=dict)
    checkout_session_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    payment_intent_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    entry = models.OneToOneField(
        "billing.JournalEntry", on_delete=models.PROTECT, null=True, related_name="payment"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    looked_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(net_micros__gt=0, tax_micros__gte=0)
                & Q(amount_micros=F("net_micros") + F("tax_micros")),
                name="payment_amounts",
            ),
            models.CheckConstraint(
                condition=Q(refunded_micros__gte=0) & Q(refunded_micros__lte=F("amount_micros")),
                name="payment_refunds_in_bounds",
            ),
            models.CheckConstraint(
                condition=~Q(status=PaymentStatus.SUCCEEDED)
                | Q(entry__isnull=False, payment_intent_id__isnull=False),
                name="payment_paid_has_entry",
            ),
            models.CheckConstraint(
                condition=Q(purpose=PaymentPurpose.INVOICE, invoice__isnull=False)
                | (~Q(purpose=PaymentPurpose.INVOICE) & Q(invoice__isnull=True)),
                name="payment_of_invoice",
            ),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(purpose=PaymentPurpose.AUTO_TOP_UP, status__in=IN_FLIGHT),
                name="payment_one_auto_in_flight",
            ),
            models.UniqueConstraint(
                fields=["invoice"],
                condition=Q(status__in=IN_FLIGHT),
                name="payment_one_per_invoice",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"], condition=Q(status__in=IN_FLIGHT), name="payment_in_flight"
            ),
            models.Index(fields=["account", "-id"], name="payment_account"),
        ]

    def __str__(self) -> str:
        return self.public_id


class Refund(models.Model):
    """Money on its way back to the card: `net_micros` of unused credit and the tax on it."""

    public_id = models.CharField(max_length=40, unique=True, default=_refund_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount_micros = models.BigIntegerField()
    net_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField(default=0)
    status = models.CharField(max_length=10, choices=RefundStatus, default=RefundStatus.DRAFT)
    reason = models.CharField(max_length=300, blank=True, default="")
    failure_message = models.CharField(max_length=300, blank=True, default="")
    idempotency_key = models.CharField(max_length=80, unique=True)
    stripe_refund_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    created_at = models.DateTimeField(default=clock.now, editable=False)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(net_micros__gte=0, tax_micros__gte=0, amount_micros__gt=0)
                & Q(amount_micros=F("net_micros") + F("tax_micros")),
                name="refund_amounts",
            )
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=[RefundStatus.DRAFT, RefundStatus.PENDING]),
                name="refund_open",
            )
        ]

    def __str__(self) -> str:
        return self.public_id


class Dispute(models.Model):
    """A payment that the cardholder's bank has taken back, at least for now.

    `withheld_micros` is the unused credit of the payment that was set aside meanwhile.
    """

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    stripe_dispute_id = models.CharField(max_length=100, unique=True)
    amount_micros = models.BigIntegerField()
    withheld_micros = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=60, blank=True, default="")
    status = models.CharField(max_length=8, choices=DisputeStatus, default=DisputeStatus.INQUIRY)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(withheld_micros__gte=0) & Q(withheld_micros__lte=F("amount_micros")),
                name="dispute_withheld",
            )
        ]

    def __str__(self) -> str:
        return self.stripe_dispute_id
