"""/jobs/: the list."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import jobs_of
from clusters.examples import DIGITS
from clusters.pages.chips import chips_of
from clusters.pages.launch import example_cost_micros
from clusters.queries.runs import JOB_FILTERS, filter_counts, filtered, rows_of
from portal.lib import clock

PAGE_SIZE = 25


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def jobs(request: PortalRequest) -> HttpResponse:
    """The team's jobs, newest first; for htmx only the table."""
    template = "clusters/jobs_live.html" if request.htmx else "clusters/jobs.html"
    return fresh(render(request, template, _context(request)))


def _context(request: PortalRequest) -> dict[str, Any]:
    found = jobs_of(request.actor)
    status = request.GET.get("status", "")
    counts = filter_counts(found, JOB_FILTERS)
    page = Paginator(filtered(found, status, JOB_FILTERS), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    query = urlencode({"status": status}) if status else ""
    return {
        "chips": chips_of(counts, JOB_FILTERS, chosen=status, home=reverse("jobs")),
        "rows": rows_of(list(page.object_list)),
        "page": page,
        "query": query,
        "here": request.get_full_path(),
        "has_jobs": counts["all"] > 0,
        "status": status,
        "example": DIGITS,
        "example_url": f"{reverse('job_new')}?{urlencode({'example': DIGITS.slug})}",
        "example_micros": None if counts["all"] else example_cost_micros(request.actor, DIGITS),
        "at": clock.now(),
    }
