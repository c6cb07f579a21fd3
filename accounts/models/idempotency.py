"""Answers remembered by Idempotency-Key."""

from __future__ import annotations

from django.db import models

from portal.lib import clock


class IdempotencyRecord(models.Model):
    """The answer a team got for a key; written in the transaction of the deed itself."""

    team = models.ForeignKey("accounts.Team", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "key"], name="idempotency_team_key"),
        ]
