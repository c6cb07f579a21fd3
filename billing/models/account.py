"""The payer's account."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.choices import Collection
from portal.lib import clock


class BillingAccount(models.Model):
    """One per team. Locking this row serialises everything that moves the team's money.

    `credit_limit_micros` is how far a team that pays by invoice may go into debt.
    """

    team = models.OneToOneField(
        "accounts.Team", on_delete=models.PROTECT, related_name="billing_account"
    )
    currency = models.CharField(max_length=3, default="usd")
    price_book = models.ForeignKey(
        "billing.PriceBook", on_delete=models.PROTECT, related_name="accounts"
    )
    collection = models.CharField(
        max_length=8, choices=Collection, default=Collection.PREPAID, db_default=Collection.PREPAID
    )
    credit_limit_micros = models.BigIntegerField(default=0, db_default=0)
    stripe_customer_id = models.CharField(max_length=80, null=True, unique=True)  # noqa: DJ001
    # Months before this instant are closed: what is rated of them later, or given back, counts in
    # the month in which that happens. Moved under the account's lock when a month is closed.
    closed_until = models.DateTimeField(null=True)
    # Since when nothing is spendable. Work goes on for a grace, then it is stopped.
    exhausted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(credit_limit_micros=0)
                | Q(credit_limit_micros__gt=0, collection=Collection.POSTPAID),
                name="account_credit_limit",
            )
        ]

    def __str__(self) -> str:
        return self.team.name
