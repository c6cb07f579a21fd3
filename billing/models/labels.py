"""What the cost of something is split by."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Labelled(models.Model):
    """Whose cost it is: a project (a text, may be empty), a member, an API key, a pool."""

    project = models.CharField(max_length=60, blank=True, default="")
    pool = models.CharField(max_length=60, blank=True, default="", db_default="")
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
