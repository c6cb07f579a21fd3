"""Celery's hints and sweeps: losing or doubling one changes nothing."""

from __future__ import annotations

from celery import shared_task

from billing.actions import invoices, price_notices, webhooks
from billing.actions.metering import rate_open_intervals
from portal.lib import clock


@shared_task(name="billing.tasks.rate_usage")
def rate_usage() -> int:
    """Post what open intervals have come to by now."""
    return rate_open_intervals(until=clock.now())


@shared_task(name="billing.tasks.send_price_notices")
def send_price_notices() -> int:
    """Tell teams of announced prices for what they use."""
    return price_notices.send_price_notices()


@shared_task(name="billing.tasks.process_webhooks")
def process_webhooks() -> int:
    """Work off stored webhooks."""
    return webhooks.process_pending()


@shared_task(name="billing.tasks.refresh_drafts")
def refresh_drafts() -> int:
    """Bring this month's draft invoices up to what is posted."""
    return invoices.refresh_drafts(at=clock.now())
