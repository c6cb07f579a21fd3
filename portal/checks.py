"""System checks: each bad combination of settings, with what to do."""

from __future__ import annotations

import re
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from billing.choices import TaxPoint
from clusters.control.standbys import counts

TAX_POINTS: Final = tuple(TaxPoint.values)
MAX_DUE_DAYS: Final = 365


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


@register()
def check_standby(**_kwargs: Any) -> list[CheckMessage]:
    """What stands by is named as environment and number."""
    try:
        counts(settings.STANDBY)
    except ValueError as error:
        hint = "Set STANDBY to words such as pytorch=2; pytorch=0 keeps none."
        return [Error(f"STANDBY cannot be used: {error}", hint=hint, id="portal.E008")]
    return []


@register()
def check_seller(**_kwargs: Any) -> list[CheckMessage]:
    """What invoices are headed with, and when tax is due."""
    errors: list[CheckMessage] = []
    if settings.TAX_POINT not in TAX_POINTS:
        hint = f"Set it to one of {', '.join(TAX_POINTS)}; ask a tax adviser which."
        errors.append(Error(f"TAX_POINT is {settings.TAX_POINT!r}.", hint=hint, id="portal.E003"))
    if settings.SELLER_COUNTRY and not re.fullmatch("[A-Z]{2}", settings.SELLER_COUNTRY):
        hint = "Set it to the two letters of ISO 3166, such as DE."
        errors.append(Error("SELLER_COUNTRY is no country.", hint=hint, id="portal.E004"))
    if not 0 <= settings.INVOICE_DUE_DAYS <= MAX_DUE_DAYS:
        hint = f"Set it to a number of days from 0 to {MAX_DUE_DAYS}."
        errors.append(Error("INVOICE_DUE_DAYS is out of range.", hint=hint, id="portal.E005"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9/-]{0,11}", settings.INVOICE_PREFIX):
        hint = "Set it to at most 12 letters, digits, dashes and slashes, such as FG-."
        errors.append(Error("INVOICE_PREFIX cannot be used.", hint=hint, id="portal.E006"))
    if not settings.SELLER_NAME.strip():
        hint = "Set it to the name of the company that sells."
        errors.append(Error("SELLER_NAME is empty.", hint=hint, id="portal.E007"))
    return errors


@register(Tags.security, deploy=True)
def check_seller_is_known(**_kwargs: Any) -> list[CheckMessage]:
    """An invoice names who sells, in full."""
    missing = [name for name in ("SELLER_ADDRESS", "SELLER_COUNTRY") if not getattr(settings, name)]
    if not missing:
        return []
    hint = "Most tax laws want the seller's full name and address on every invoice."
    return [Warning(f"{' and '.join(missing)} not set.", hint=hint, id="portal.W002")]
