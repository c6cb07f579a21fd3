"""Mail about money, to the owners of a team."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.choices import Role
from accounts.models import Membership, Team
from billing.documents.words import unit_price
from billing.models import Price


def send_price_change(team: Team, price: Price, current: Price | None) -> None:
    """What `price`, announced, will be, and that what runs keeps what it has."""
    context = {
        "team": team.name,
        "label": price.sku.label,
        "starts_at": price.valid_during.lower,
        "price_text": unit_price(price.unit_micros, price.unit_hours),
        "current_text": unit_price(current.unit_micros, current.unit_hours) if current else "",
        "url": f"{settings.SITE_URL}/prices/",
        "site_name": settings.SITE_NAME,
    }
    to_owners(team, "billing/email/price_change", context)


def to_owners(team: Team, template: str, context: dict[str, object]) -> None:
    """One mail to all owners of `team`, from `<template>_subject.txt` and `_message.txt`."""
    owners = Membership.objects.filter(team=team, role=Role.OWNER)
    addresses = list(owners.values_list("user__email", flat=True))
    if not addresses:
        return
    subject = " ".join(render_to_string(f"{template}_subject.txt", context).split())
    send_mail(subject, render_to_string(f"{template}_message.txt", context), None, addresses)
