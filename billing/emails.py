"""Mail about money, to the owners of a team."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.choices import Role
from accounts.models import Membership, Team
from billing.choices import PAUSE_ADVICE, PauseReason
from billing.documents.words import unit_price
from billing.models import AutoTopUp, BudgetCrossing, FundsNotice, Price
from billing.queries.funds import Funds, funds_of, runway_text
from billing.queries.storage import keeps_storage, storage_ends_at, storage_micros_per_day
from portal.lib.money import format_money


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


def send_budget_crossing(crossing: BudgetCrossing, name: str) -> None:
    """How much of a budget is used, to the owners and to the member it is of."""
    budget = crossing.budget
    context = {
        "team": budget.account.team.name,
        "name": name,
        "percent": crossing.percent,
        "spent_text": format_money(crossing.spent_micros),
        "amount_text": format_money(crossing.amount_micros),
        "is_hard": budget.is_hard,
        "url": f"{settings.SITE_URL}/billing/budgets/",
        "site_name": settings.SITE_NAME,
    }
    also = [budget.member.email] if budget.member else []
    to_owners(budget.account.team, "billing/email/budget", context, also=also)


def send_funds_notice(notice: FundsNotice, funds: Funds) -> None:
    """How long the credit lasts, and what happens then."""
    account = notice.account
    ends_at = storage_ends_at(account) if keeps_storage(account) else None
    context = {
        "team": notice.account.team.name,
        "step": notice.step,
        "balance_text": format_money(funds.balance_micros),
        "burn_text": f"{format_money(funds.burn_micros_per_hour)}/h",
        "runway_text": runway_text(funds.runway_seconds),
        "grace_minutes": -(-settings.FUNDS_GRACE_SECONDS // 60),
        "storage_ends_text": f"{ends_at:%-d %B %Y, %H:%M} UTC" if ends_at else "",
        "storage_text": f"{format_money(storage_micros_per_day(account.team))} a day",
        "url": f"{settings.SITE_URL}/billing/top-up/",
        "site_name": settings.SITE_NAME,
    }
    to_owners(notice.account.team, "billing/email/funds", context)


def send_auto_top_up_pause(rule: AutoTopUp) -> None:
    """Why automatic top-up has stopped itself, and what makes it go on."""
    reason, funds = PauseReason(rule.pause_reason), funds_of(rule.account)
    context: dict[str, object] = {
        "team": rule.account.team.name,
        "reason": reason.label,
        "advice": PAUSE_ADVICE[reason],
        "balance_text": format_money(funds.balance_micros),
        "runway_text": runway_text(funds.runway_seconds),
        "url": f"{settings.SITE_URL}/billing/cards/",
        "site_name": settings.SITE_NAME,
    }
    to_owners(rule.account.team, "billing/email/auto_top_up", context)


def to_owners(
    team: Team, template: str, context: dict[str, object], *, also: Sequence[str] = ()
) -> None:
    """One mail to all owners of `team`, from `<template>_subject.txt` and `_message.txt`."""
    owners = Membership.objects.filter(team=team, role=Role.OWNER)
    addresses = sorted({*owners.values_list("user__email", flat=True), *also})
    if not addresses:
        return
    subject = " ".join(render_to_string(f"{template}_subject.txt", context).split())
    send_mail(subject, render_to_string(f"{template}_message.txt", context), None, addresses)
