"""Who the team is at Stripe."""

from __future__ import annotations

from billing.gateways.customers import create_customer
from billing.models import BillingAccount


def ensure_customer(account: BillingAccount) -> str:
    """The team's customer at Stripe, made when there is none; once, whoever asks at the same time.

    Raises Unavailable when Stripe does not answer. Must not be called inside a transaction.
    """
    if account.stripe_customer_id:
        return account.stripe_customer_id
    # The key names the account, not the call: who races us is given the same customer.
    key = f"customer-{account.pk}-{int(account.created_at.timestamp())}"
    made = create_customer(account_id=account.pk, idempotency_key=key)
    BillingAccount.objects.filter(pk=account.pk, stripe_customer_id__isnull=True).update(
        stripe_customer_id=made
    )
    account.refresh_from_db(fields=["stripe_customer_id"])
    return account.stripe_customer_id or made
