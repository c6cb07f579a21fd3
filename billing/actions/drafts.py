"""The invoice of the month that goes on."""

from __future__ import annotations

from billing.choices import InvoiceKind
from billing.models import BillingAccount, Invoice
from billing.queries.periods import period_of
from portal.lib import clock


def ensure_draft(account: BillingAccount) -> Invoice:
    """The draft of this month. Nothing is copied into it: it is read from what is rated."""
    start, end = period_of(clock.now())
    draft, _ = Invoice.objects.get_or_create(
        account=account,
        kind=InvoiceKind.USAGE,
        period_start=start,
        defaults={"period_end": end, "currency": account.currency},
    )
    return draft
