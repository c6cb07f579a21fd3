"""What is done to a notebook from its page: each a POST that leads back to the page."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import notebook_for, require_person
from clusters.actions.notebook_shares import revoke_share, share_notebook
from clusters.actions.notebooks import (
    keep_notebook,
    remove_notebook,
    set_stops,
    start_notebook,
    stop_notebook,
)
from clusters.addresses import share_address
from clusters.choices import AT_REST
from clusters.models import Workload
from clusters.notebook_forms import StopsForm
from clusters.pages.run_facts import stop_dialog
from clusters.pages.run_now import links_of
from clusters.queries.runs import detail_of
from clusters.queries.shares import shares_of
from clusters.words import idle_rule
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, PortalError


def _to_page(notebook_id: str, query: str = "") -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{reverse('notebook', args=[notebook_id])}{query}", status=303)


@require_POST
@signed_in
def notebook_start(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Start it again; its page opens it once it is ready."""
    found = notebook_for(request.actor, notebook_id[:60])
    try:
        start_notebook(request.actor, found.public_id)
    except InsufficientFunds as error:
        messages.error(request, f"{error.message} Add credit under Billing, then start it again.")
        return _to_page(found.public_id)
    except (Conflict, InvalidInput) as error:
        messages.error(request, error.message)
        return _to_page(found.public_id)
    path = request.POST.get("next", "")
    query = {"open": "1", "next": path} if path else {"open": "1"}
    return _to_page(found.public_id, f"?{urlencode(query)}")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def notebook_stop(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Ask it to stop; a GET gives the dialog that says what that means."""
    found = notebook_for(request.actor, notebook_id[:60])
    if request.method != "POST":
        dialog = {"stop": stop_dialog(detail_of(found)), "links": links_of(found), "is_open": True}
        return fresh(render(request, "clusters/run_stop.html", dialog))
    try:
        stopped = stop_notebook(request.actor, found.public_id)
    except Conflict:
        messages.info(request, "It had stopped already.")
        return _to_page(found.public_id)
    is_gone = stopped.status in AT_REST
    text = "Taken out of the queue." if is_gone else "Asked to stop. It may still save its work."
    messages.success(request, text)
    return _to_page(found.public_id)


@require_POST
@signed_in
def notebook_keep(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Let idleness not count for an hour."""
    found = notebook_for(request.actor, notebook_id[:60])
    try:
        keep_notebook(request.actor, found.public_id)
    except Conflict as error:
        messages.info(request, error.message)
    else:
        messages.success(request, "Kept for an hour, whatever is done in it.")
    return _to_page(found.public_id)


@require_POST
@signed_in
def notebook_stops(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Change when it stops by itself; answers the form, for htmx."""
    found = notebook_for(request.actor, notebook_id[:60])
    form = StopsForm(request.POST)
    status, is_saved = 400, False
    if form.is_valid():
        try:
            set_stops(request.actor, found.public_id, **form.stops)
        except InvalidInput as error:
            form.refuse(error)
        else:
            status, is_saved = 200, True
    context = {
        "job": found,
        "stops_form": form,
        "idle_rule": idle_rule(),
        "may_work": True,
        "is_saved": is_saved,
    }
    return fresh(render(request, "clusters/notebook_stops.html", context, status=status))


@require_POST
@signed_in
def notebook_remove(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """List it no more."""
    found = notebook_for(request.actor, notebook_id[:60])
    try:
        remove_notebook(request.actor, found.public_id)
    except Conflict as error:
        messages.error(request, error.message)
        return _to_page(found.public_id)
    messages.success(request, f"{found.name} is removed.")
    return HttpResponseRedirect(reverse("notebooks"), status=303)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def notebook_shares(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """The links to it and who has followed them; a POST makes a link, which is shown this once."""
    found = notebook_for(request.actor, notebook_id[:60])
    require_person(request.actor, found)
    if request.method != "POST":
        return _shares(request, found)
    try:
        _, secret = share_notebook(request.actor, found.public_id)
    except Conflict as error:
        return _shares(request, found, refusal=error)
    return _shares(request, found, url=share_address(secret))


@require_POST
@signed_in
def notebook_share_revoke(request: PortalRequest, notebook_id: str, share_id: str) -> HttpResponse:
    """Let nobody in by a link any more."""
    found = notebook_for(request.actor, notebook_id[:60])
    revoke_share(request.actor, found.public_id, share_id)
    return _shares(request, found)


def _shares(
    request: PortalRequest, found: Workload, *, url: str = "", refusal: PortalError | None = None
) -> HttpResponse:
    """What the dialog holds; for a browser without our script a page of its own."""
    template = "notebook_shares.html" if request.htmx else "notebook_shares_page.html"
    context = {
        "job": found,
        "shares": shares_of(found),
        "new_url": url,
        "refusal": refusal.message if refusal else "",
    }
    status = refusal.http_status if refusal else 200
    return fresh(render(request, f"clusters/{template}", context, status=status))
