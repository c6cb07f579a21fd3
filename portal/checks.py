"""System checks: each bad combination of settings, with what to do."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security, deploy=True)
def check_secret_key(**_kwargs: Any) -> list[CheckMessage]:
    """Production needs a secret of its own."""
    if settings.SECRET_KEY.startswith("for-tests"):
        return [
            Error(
                "SECRET_KEY is not set.",
                hint="Set SECRET_KEY or SECRET_KEY_FILE.",
                id="portal.E001",
            )
        ]
    return []


@register(Tags.security)
def check_stripe(**_kwargs: Any) -> list[CheckMessage]:
    """Without its webhook secret a payment cannot be verified."""
    if settings.STRIPE_SECRET_KEY and not settings.STRIPE_WEBHOOK_SECRET:
        return [
            Error(
                "STRIPE_SECRET_KEY is set without STRIPE_WEBHOOK_SECRET.",
                hint="Copy the signing secret of the webhook endpoint from Stripe's dashboard.",
                id="portal.E002",
            )
        ]
    return []


@register(Tags.security)
def check_insecure_local(**_kwargs: Any) -> list[CheckMessage]:
    """Running strangers' code without a sandbox must stay visible."""
    if settings.LOCAL_ALLOW_INSECURE:
        return [
            Warning(
                "LOCAL_ALLOW_INSECURE runs workloads without any isolation.",
                hint="Install bubblewrap and unset it.",
                id="portal.W001",
            )
        ]
    return []
