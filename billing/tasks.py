"""Celery's hints and sweeps: losing or doubling one changes nothing."""

from __future__ import annotations

from celery import shared_task

from billing.actions import (
    auto_pause,
    auto_top_up,
    collecting,
    expiry,
    month_close,
    price_notices,
    receipts,
    recovery,
    webhooks,
)
from billing.actions.metering import rate_open_intervals
from billing.actions.reconcile import reconcile
from billing.models import ReconciliationBreak
from portal.lib import clock
from portal.lib.tasks import begun


@shared_task(name="billing.tasks.rate_usage")
def rate_usage() -> int:
    """Post what open intervals have come to by now."""
    return rate_open_intervals(until=clock.now())


@shared_task(name="billing.tasks.expire_credit")
def expire_credit() -> int:
    """Take expired credit out of the books."""
    return expiry.expire_credit()


@shared_task(name="billing.tasks.send_price_notices")
def send_price_notices() -> int:
    """Tell teams of announced prices for what they use."""
    return price_notices.send_price_notices()


@shared_task(name="billing.tasks.process_webhooks")
def process_webhooks() -> int:
    """Work off stored webhooks."""
    begun("billing.tasks.process_webhooks")
    return webhooks.process_pending()


@shared_task(name="billing.tasks.close_months")
def close_months() -> int:
    """Write the invoices of months that are over."""
    return month_close.close_due_months()


@shared_task(name="billing.tasks.document_payments")
def document_payments() -> int:
    """Write the documents of payments and refunds."""
    return receipts.document_payments()


@shared_task(name="billing.tasks.collect_invoices")
def collect_invoices() -> int:
    """Note which invoices are paid and charge cards for the others."""
    return collecting.collect()


@shared_task(name="billing.tasks.recover_payments")
def recover_payments() -> int:
    """Find out what became of payments, refunds and cards whose answer was lost."""
    return recovery.recover_payments() + recovery.recover_refunds() + recovery.recover_card_setups()


@shared_task(name="billing.tasks.top_up_automatically")
def top_up_automatically() -> int:
    """Charge the cards of those who asked for it and are short; tell of what has paused."""
    tried = auto_top_up.run_due()
    auto_pause.tell_pauses()
    return tried


@shared_task(name="billing.tasks.reconcile")
def run_reconciliation() -> int:
    """Compare our books with Stripe's and with each other; returns the number of open breaks."""
    reconcile()
    return ReconciliationBreak.objects.filter(resolved_at__isnull=True).count()
