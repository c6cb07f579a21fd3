"""Who the team is at Stripe."""

from __future__ import annotations

import hashlib

from accounts.choices import Role
from billing.gateways.customers import create_customer
from billing.models import BillingAccount


def ensure_customer(account: BillingAccount) -> str:
    """The team's customer at Stripe, made when there is none; once, whoever asks at the same time.

    Raises Unavailable when Stripe does not answer. Must not be called inside a transaction.
    """
    if account.stripe_customer_id:
        return account.stripe_customer_id
    email = _owners_email(account)
    # The key names what is asked for, not the call: who races us is given the same customer.
    digest = hashlib.sha256(f"{account.created_at.isoformat()} {email}".encode()).hexdigest()
    key = f"customer-{account.pk}-{digest[:32]}"
    made = create_customer(account_id=account.pk, email=email, idempotency_key=key)
    BillingAccount.objects.filter(pk=account.pk, stripe_customer_id__isnull=True).update(
        stripe_customer_id=made
    )
    account.refresh_from_db(fields=["stripe_customer_id"])
    return account.stripe_customer_id or made


def _owners_email(account: BillingAccount) -> str:
    """Where Stripe sends receipts; empty for a team without an owner."""
    owners = account.team.memberships.filter(role=Role.OWNER).order_by("pk")
    return owners.values_list("user__email", flat=True).first() or ""
