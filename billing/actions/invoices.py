"""Draft invoices follow what was posted."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet, Sum

from billing.choices import InvoiceStatus
from billing.models import BillingAccount, Invoice, InvoiceLine, RatedUsage
from billing.queries.periods import period_of
from portal.lib import clock


@transaction.atomic
def refresh_draft(account: BillingAccount, *, at: datetime) -> Invoice:
    """The invoice of the month that holds `at`, brought up to what is posted. A final one stays."""
    start, end = period_of(at)
    Invoice.objects.get_or_create(
        account=account,
        period_start=start,
        defaults={"period_end": end, "currency": account.currency},
    )
    invoice = Invoice.objects.select_for_update(no_key=True).get(
        account=account, period_start=start
    )
    if invoice.status != InvoiceStatus.DRAFT:
        return invoice
    amounts = dict(
        _posted(account, start, end).values_list("interval").annotate(Sum("amount_micros"))
    )
    InvoiceLine.objects.bulk_create(
        [
            InvoiceLine(invoice=invoice, interval_id=interval, amount_micros=amount)
            for interval, amount in amounts.items()
        ],
        update_conflicts=True,
        unique_fields=["invoice", "interval"],
        update_fields=["amount_micros"],
    )
    invoice.total_micros = sum(amounts.values())
    invoice.updated_at = clock.now()
    invoice.save(update_fields=["total_micros", "updated_at"])
    return invoice


def refresh_drafts(*, at: datetime) -> int:
    """Refresh the draft of each account with usage in the month of `at`; returns how many."""
    start, end = period_of(at)
    accounts = BillingAccount.objects.filter(pk__in=_in_period(start, end).values("account"))
    for account in accounts:
        refresh_draft(account, at=at)
    return len(accounts)


def _posted(account: BillingAccount, start: datetime, end: datetime) -> QuerySet[RatedUsage]:
    return _in_period(start, end).filter(account=account)


def _in_period(start: datetime, end: datetime) -> QuerySet[RatedUsage]:
    return RatedUsage.objects.filter(period_start__gte=start, period_start__lt=end)
