"""Which invoices are paid follows from what is owed, however the money came in."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from billing.actions.accounts import lock_accounts
from billing.choices import InvoiceStatus
from billing.models import Invoice
from billing.queries.outstanding import outstanding
from portal.lib import clock


@transaction.atomic
def mark_paid(account_ids: Collection[int]) -> int:
    """Note which open invoices of these accounts nothing is owed on any more; returns how many."""
    lock_accounts(account_ids)
    paid = [key for key, micros in outstanding(account_ids).items() if micros == 0]
    return Invoice.objects.filter(pk__in=paid, status=InvoiceStatus.FINAL).update(
        status=InvoiceStatus.PAID, paid_at=clock.now()
    )
