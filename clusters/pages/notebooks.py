"""/notebooks/: the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import notebooks_of, openable
from clusters.addresses import open_path
from clusters.choices import AT_REST, Reason, WorkloadStatus
from clusters.pages.chips import chips_of
from clusters.pages.notebook_facts import why_words
from clusters.pages.notebook_launch import serving_pools
from clusters.pages.offers import price_of
from clusters.queries.runs import NOTEBOOK_FILTERS, RunRow, filter_counts, filtered, rows_of
from portal.lib import clock

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list: `row`, and what can be done with it. `opens` is "" while it is not ready.

    `countdown` says what a countdown runs for; `is_starting`: it runs, and does not answer yet.
    """

    row: RunRow
    opens: str
    may_start: bool
    may_stop: bool
    countdown: str
    is_starting: bool


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def notebooks(request: PortalRequest) -> HttpResponse:
    """The team's notebooks, newest first; for htmx only the table."""
    template = "clusters/notebooks_live.html" if request.htmx else "clusters/notebooks.html"
    return fresh(render(request, template, _context(request)))


def _context(request: PortalRequest) -> dict[str, Any]:
    found = notebooks_of(request.actor)
    status = request.GET.get("status", "")
    counts = filter_counts(found, NOTEBOOK_FILTERS)
    shown = filtered(found, status, NOTEBOOK_FILTERS)
    page = Paginator(shown, PAGE_SIZE).get_page(request.GET.get("page"))
    listed = list(page.object_list)
    able = openable(request.actor, listed)
    context = {
        "chips": chips_of(counts, NOTEBOOK_FILTERS, chosen=status, home=reverse("notebooks")),
        "lines": [_line(row, may_work=row.job.pk in able) for row in rows_of(listed)],
        "page": page,
        "query": urlencode({"status": status}) if status else "",
        "here": request.get_full_path(),
        "has_notebooks": counts["all"] > 0,
        "at": clock.now(),
    }
    return context if counts["all"] else context | _first(request)


def _first(request: PortalRequest) -> dict[str, Any]:
    """Where the first one can be launched, and from what price."""
    pools = serving_pools(request.actor)
    prices = [price for pool in pools if (price := price_of(request.actor, pool)) is not None]
    return {"has_pool": bool(pools), "from_micros": min(prices, default=None)}


def _line(row: RunRow, *, may_work: bool) -> Line:
    notebook = row.job
    own, is_at_rest = notebook.notebook, notebook.status in AT_REST
    is_ready = notebook.status == WorkloadStatus.RUNNING and notebook.reason == Reason.RUNNING
    return Line(
        row=row,
        opens=open_path(notebook) if is_ready and may_work else "",
        may_start=may_work and is_at_rest,
        may_stop=may_work and not is_at_rest and notebook.status != WorkloadStatus.STOPPING,
        countdown=why_words(own.stops_for) if own.stops_at else "",
        is_starting=notebook.reason == Reason.SERVER_STARTING,
    )
