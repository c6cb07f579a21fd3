"""The payer's account."""

from __future__ import annotations

from django.db import models

from portal.lib import clock


class BillingAccount(models.Model):
    """One per team. Locking this row serialises everything that moves the team's money."""

    team = models.OneToOneField(
        "accounts.Team", on_delete=models.PROTECT, related_name="billing_account"
    )
    currency = models.CharField(max_length=3, default="usd")
    price_book = models.ForeignKey(
        "billing.PriceBook", on_delete=models.PROTECT, related_name="accounts"
    )
    stripe_customer_id = models.CharField(max_length=80, null=True, unique=True)  # noqa: DJ001
    # Months before this instant are closed: what is rated of them later, or given back, counts in
    # the month in which that happens. Moved under the account's lock when a month is closed.
    closed_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    def __str__(self) -> str:
        return self.team.name
