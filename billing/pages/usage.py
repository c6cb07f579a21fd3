"""/billing/usage/: what was spent on what, down to the second of a run."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of
from billing.models import BillingAccount, UsageInterval
from billing.pages.lines import LineShown, line_shown
from billing.queries.periods import midnight_of
from billing.queries.spend import Spend, SplitBy, spend
from billing.queries.usage import usage_by_resource, usage_line_of
from portal.lib import clock
from portal.lib.errors import NotFound
from portal.lib.money import MICROS

RANGES = (7, 30, 90)
PAGE_SIZE = 25
# The chart has as many colours; what is spent least shares one more.
MOST_SERIES = 7


@require_safe
@signed_in
def usage(request: PortalRequest) -> HttpResponse:
    """The chart, the same as a table, and the runs behind it."""
    account = account_of(request.actor)
    days, by = _chosen(request)
    last = clock.now().date()
    first = last - timedelta(days=days - 1)
    found = _few(spend(account, first, last, by=by))
    lines = usage_by_resource(
        account, start=midnight_of(first), end=midnight_of(last + timedelta(days=1))
    )
    shown = Paginator(lines, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "days": days,
        "by": by,
        "ranges": RANGES,
        "splits": SplitBy.choices,
        "spend": found,
        "chart": _chart(found),
        "page": shown,
        "lines": [line_shown(line) for line in shown],
        "query": f"days={days}&by={by.value}",
    }
    return render(request, "billing/usage.html", context)


@require_safe
@signed_in
def usage_of(request: PortalRequest, resource_id: str) -> HttpResponse:
    """Why a run cost what it did."""
    line = _line(account_of(request.actor), resource_id)
    return render(request, "billing/usage_of.html", {"line": line, "now": clock.now()})


def _line(account: BillingAccount, resource_id: str) -> LineShown:
    interval = UsageInterval.objects.filter(
        account=account, resource_public_id=resource_id.replace("\0", "")[:40]
    ).first()
    if interval is None:
        raise NotFound("Nothing of this id was ever billed to your team.")
    return line_shown(usage_line_of(interval.resource_kind, interval.resource_id))


def _chosen(request: PortalRequest) -> tuple[int, SplitBy]:
    """What the address asks for; what makes no sense is as if it were not there."""
    typed, split = request.GET.get("days", ""), request.GET.get("by", "")
    days = int(typed) if typed in {str(days) for days in RANGES} else 30
    return days, SplitBy(split) if split in SplitBy.values else SplitBy.PROJECT


def _few(found: Spend) -> Spend:
    keys = [key for key, _ in found.totals]
    if len(keys) <= MOST_SERIES + 1:
        return Spend(found.days, {key: found.series[key] for key in keys})
    series = {key: found.series[key] for key in keys[:MOST_SERIES]}
    rest = [found.series[key] for key in keys[MOST_SERIES:]]
    name = f"{len(rest)} others"
    series[name] = tuple(sum(values) for values in zip(*rest, strict=True))
    return Spend(found.days, series)


def _chart(found: Spend) -> dict[str, Any]:
    """What `js/chart-spend.js` draws, in dollars."""
    return {
        "days": [_iso(day) for day in found.days],
        "series": [
            {"name": key, "dollars": [micros / MICROS for micros in values]}
            for key, values in found.series.items()
        ],
    }


def _iso(day: date) -> str:
    return day.isoformat()
