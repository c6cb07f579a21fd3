"""/billing/: what there is, what it goes on, what came in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of
from billing.choices import LotKind, PaymentStatus
from billing.models import BillingAccount, CreditLot
from billing.pages.facts import facts_of
from billing.pages.lines import line_shown
from billing.queries.funds import funds_of
from billing.queries.periods import period_of
from billing.queries.usage import usage_by_resource
from portal.lib import clock

PAGE_SIZE = 25
SHOWN = 12


@require_safe
@signed_in
def billing(request: PortalRequest) -> HttpResponse:
    """The whole page."""
    account = account_of(request.actor)
    live = _live(account, request.GET.get("page", "1"))
    context = live | {
        "payments": account.payments.exclude(status=PaymentStatus.DRAFT).order_by("-pk")[:SHOWN],
        "gifts": CreditLot.objects.filter(account=account)
        .exclude(kind=LotKind.PURCHASED)
        .select_related("entry")
        .order_by("-pk")[:SHOWN],
        "is_demo": settings.DEMO,
    }
    return render(request, "billing/overview.html", context)


@require_safe
@signed_in
def billing_now(request: PortalRequest) -> HttpResponse:
    """The part that changes while work runs, for htmx."""
    context = _live(account_of(request.actor), request.GET.get("page", "1"))
    response = render(request, "billing/overview_now.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _live(account: BillingAccount, page: str) -> dict[str, Any]:
    now = clock.now()
    start, end = period_of(now)
    lines = usage_by_resource(account, start=start, end=end)
    shown = Paginator(lines, PAGE_SIZE).get_page(page)
    return {
        "facts": facts_of(funds_of(account)),
        "page": shown,
        "lines": [line_shown(line) for line in shown],
        "period_start": start,
        "now": now,
        "total_micros": sum(line.amount_micros for line in lines),
        "burn_micros": sum(line.burn_micros_per_hour for line in lines),
    }
