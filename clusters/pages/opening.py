"""/open/<name>/ and /shared/<secret>/: the ways from the portal into what workloads serve.

The proxy sends who has no session there to /open/. What is answered differs by person and by
moment, and holds a ticket: no browser may keep it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.access import actors_of, team_of
from accounts.actor import Actor
from accounts.pages.base import PortalRequest, fresh, look_at, signed_in
from clusters.access import may_open, workloads_of
from clusters.actions.apps import open_url, subject_of
from clusters.actions.notebook_shares import follow_share
from clusters.choices import Service
from clusters.models import Workload
from clusters.pages.run_now import links_of
from clusters.queries.notebooks import is_served
from portal.lib.errors import NotFound

# Says that the person has come by the sign-in form.
_SIGNED_IN = "signed-in"


@require_safe
def open_app(request: HttpRequest, name: str) -> HttpResponseBase:
    """Let a signed-in person into what is served as `name`, at the path `?next=`.

    A browser that has just sent the sign-in form may not be led to another origin by the answer to
    it, because the form's page forbids that. It is given a page that goes on by itself.
    """
    query = {"next": request.GET.get("next", "")}
    if not request.user.is_authenticated:
        after = f"{request.path}?{urlencode(query | {_SIGNED_IN: '1'})}"
        return fresh(redirect_to_login(after))
    if _SIGNED_IN in request.GET:
        again = f"{request.path}?{urlencode(query)}"
        return fresh(render(request, "clusters/open_on.html", {"url": again}))
    return _let_in(request, name)


@signed_in
def _let_in(request: PortalRequest, name: str) -> HttpResponse:
    """Its origin; its page while it is not ready; for who may not, a page that says so."""
    service, public_id = subject_of(name)
    path = request.GET.get("next", "")
    actors = actors_of(request.user)
    for actor in actors:
        found = _workload(actor, public_id)
        if found is None:
            continue
        if not may_open(actor, found, service):
            context = {
                "job": found,
                "page_url": links_of(found).page,
                "is_terminal": service == Service.TERMINAL,
            }
            denied = render(request, "clusters/open_denied.html", context, status=403)
            return fresh(look_at(denied, team_of(actor)))
        if service == Service.LAB and not is_served(name):
            return fresh(look_at(_to_its_page(found, path), team_of(actor)))
        if service == Service.TERMINAL and not is_served(name):
            asks = HttpResponseRedirect(links_of(found).terminal, status=303)
            return fresh(look_at(asks, team_of(actor)))
        actors = [actor]
        break
    return fresh(HttpResponseRedirect(_ticket(request, actors, name, path), status=303))


def _workload(actor: Actor, public_id: str) -> Workload | None:
    mine = workloads_of(actor).filter(notebook__removed_at__isnull=True)
    return mine.select_related("created_by").filter(public_id=public_id).first()


def _to_its_page(notebook: Workload, path: str) -> HttpResponseRedirect:
    """Where it can be started, and opens by itself once it is ready."""
    query = urlencode({"open": "1"} | ({"next": path} if path else {}))
    return HttpResponseRedirect(f"{links_of(notebook).page}?{query}", status=303)


def _ticket(request: PortalRequest, actors: list[Actor], name: str, path: str) -> str:
    """For what has no workload of its own the person is tried in each of their teams."""
    for actor in actors:
        try:
            key = request.session.session_key or ""
            return open_url(actor, name, session_key=key, path=path)
        except NotFound:
            continue
    raise NotFound("Nothing of this name is running, or it is of a team you are not in.")


@require_safe
@signed_in
def shared(request: PortalRequest, secret: str) -> HttpResponse:
    """Follow a link to somebody's notebook, in whichever of one's teams it is."""
    for actor in actors_of(request.user):
        try:
            notebook = follow_share(actor, secret)
        except NotFound:
            continue
        messages.success(request, f"You may open {notebook.name} now.")
        page = reverse("notebook", args=[notebook.public_id])
        return fresh(look_at(HttpResponseRedirect(page, status=303), team_of(actor)))
    raise NotFound("This link is not good, or no longer. Ask for a new one.")
