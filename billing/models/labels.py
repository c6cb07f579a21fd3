"""What the cost of something is split by."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Labelled(models.Model):
    """Whose cost it is: a project of the team (a text, may be empty), a member, an API key."""

    project = models.CharField(max_length=60, blank=True, default="")
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )

    class Meta:
        abstract = True
