"""API keys: only a digest is kept."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("key")


class ApiKey(models.Model):
    """A bearer secret of one person in one team. `digest` is the SHA-256 of the whole secret."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    team = models.ForeignKey("accounts.Team", on_delete=models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.public_id
