"""Enumerations of accounts."""

from __future__ import annotations

from django.db.models import TextChoices


class Role(TextChoices):
    """What a person may do in a team."""

    OWNER = "owner", "Owner"
    MEMBER = "member", "Member"


class ActorKind(TextChoices):
    """Who does something."""

    USER = "user", "Person"
    API_KEY = "api_key", "API key"
    SYSTEM = "system", "FastGPU"
    STAFF = "staff", "Staff"
