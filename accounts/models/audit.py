"""What was done, by whom."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from accounts.choices import ActorKind
from portal.lib import clock


class AuditEvent(models.Model):
    """One deed; appended, never changed."""

    at = models.DateTimeField(default=clock.now, editable=False)
    actor_kind = models.CharField(max_length=10, choices=ActorKind)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.SET_NULL, null=True, related_name="+"
    )
    team = models.ForeignKey(
        "accounts.Team", on_delete=models.CASCADE, null=True, related_name="audit_events"
    )
    verb = models.CharField(max_length=60)
    object_id = models.CharField(max_length=60, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["team", "-at"], name="audit_team_at")]
