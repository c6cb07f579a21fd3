"""Saved cards, and what is charged to them without being asked."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.choices import CardStatus, PauseReason, SetupStatus
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("card")


def _setup_id() -> str:
    return ids.new_id("cset")


class PaymentMethod(models.Model):
    """A card that Stripe keeps for the team. Its number was never here."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="cards"
    )
    stripe_id = models.CharField(max_length=100, unique=True)
    fingerprint = models.CharField(max_length=40, blank=True, default="")
    brand = models.CharField(max_length=30)
    last4 = models.CharField(max_length=4)
    exp_month = models.PositiveSmallIntegerField()
    exp_year = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=8, choices=CardStatus, default=CardStatus.ACTIVE)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(is_default=True), name="card_one_default"
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(status=CardStatus.ACTIVE),
                name="card_default_is_active",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.brand} {self.last4}"

    def is_expired(self) -> bool:
        """Whether its last month is over."""
        today = clock.now()
        return (self.exp_year, self.exp_month) < (today.year, today.month)


class CardSetup(models.Model):
    """Saving a card, from intent to card. Its key is kept before Stripe is called."""

    public_id = models.CharField(max_length=40, unique=True, default=_setup_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="card_setups"
    )
    status = models.CharField(max_length=10, choices=SetupStatus, default=SetupStatus.DRAFT)
    idempotency_key = models.CharField(max_length=80, unique=True)
    checkout_session_id = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    card = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)


class AutoTopUp(models.Model):
    """When the available balance falls under `threshold`, the default card pays `amount`.

    `monthly_maximum` bounds what is charged in a calendar month (UTC), taxes included. `told_at` is
    when the owners were told of the present pause.
    """

    account = models.OneToOneField(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="auto_top_up"
    )
    is_on = models.BooleanField(default=True)
    threshold_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    monthly_maximum_micros = models.BigIntegerField()
    pause_reason = models.CharField(max_length=20, choices=PauseReason, blank=True, default="")
    paused_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold_micros__gte=0, amount_micros__gt=0)
                & Q(monthly_maximum_micros__gte=F("amount_micros")),
                name="auto_top_up_amounts",
            ),
            models.CheckConstraint(
                condition=Q(pause_reason="", paused_at__isnull=True)
                | (~Q(pause_reason="") & Q(paused_at__isnull=False)),
                name="auto_top_up_pause",
            ),
        ]
