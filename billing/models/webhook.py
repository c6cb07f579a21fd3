"""What Stripe tells us."""

from __future__ import annotations

from django.db import models

from billing.choices import WebhookStatus
from portal.lib import clock


class WebhookEvent(models.Model):
    """A delivery from Stripe, stored before it is looked at."""

    stripe_event_id = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=80)
    body = models.TextField()
    status = models.CharField(max_length=10, choices=WebhookStatus, default=WebhookStatus.RECEIVED)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    received_at = models.DateTimeField(default=clock.now, editable=False)
    processed_at = models.DateTimeField(null=True)
