"""A terminal in work that runs: one click, a page that waits while it starts, on into it."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import job_for, may_open, notebook_for
from clusters.actions.terminals import open_terminal
from clusters.addresses import open_path
from clusters.choices import AppState, Service
from clusters.models import Workload
from clusters.pages.run_now import links_of
from clusters.queries.terminals import offers_terminal, terminal_of
from portal.lib.errors import Conflict, PortalError, Unavailable


@require_http_methods(["GET", "HEAD", "POST"])
@vary_on_headers("HX-Request")
@signed_in
def job_terminal(request: PortalRequest, job_id: str) -> HttpResponse:
    """A POST opens it; a GET says how far it is, and leads into it once it answers."""
    return _terminal(request, job_for(request.actor, job_id[:60]))


@require_http_methods(["GET", "HEAD", "POST"])
@vary_on_headers("HX-Request")
@signed_in
def notebook_terminal(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """The same of a notebook."""
    return _terminal(request, notebook_for(request.actor, notebook_id[:60]))


def _terminal(request: PortalRequest, run: Workload) -> HttpResponse:
    """A browser that has just sent a form may not be led to another origin by the answer to it: it
    is given a page that goes on by itself.
    """
    if request.method == "POST":
        try:
            open_terminal(request.actor, run.public_id)
        except (Conflict, Unavailable) as error:
            return _page(request, run, refusal=error)
        here = reverse(f"{run.kind}_terminal", args=[run.public_id])
        return HttpResponseRedirect(here, status=303)
    if not may_open(request.actor, run, Service.TERMINAL):
        context = {"job": run, "page_url": links_of(run).page, "is_terminal": True}
        return fresh(render(request, "clusters/open_denied.html", context, status=403))
    return _page(request, run)


def _page(
    request: PortalRequest, run: Workload, *, refusal: PortalError | None = None
) -> HttpResponse:
    app = terminal_of(run)
    is_ready = app is not None and app.state == AppState.READY and refusal is None
    url = open_path(run, Service.TERMINAL) if is_ready else ""
    if url and request.htmx:
        return fresh(HttpResponse(headers={"HX-Redirect": url}))
    context = {
        "job": run,
        "app": app,
        "links": links_of(run),
        "refusal": refusal.message if refusal else "",
        "may_open": offers_terminal(run),
        "url": url,
    }
    template = "clusters/terminal_now.html" if request.htmx else "clusters/terminal.html"
    status = refusal.http_status if refusal else 200
    return fresh(render(request, template, context, status=status))
