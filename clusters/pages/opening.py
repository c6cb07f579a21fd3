"""/open/<name>/ and /shared/<secret>/: the ways from the portal into what workloads serve.

The proxy sends who has no session there to /open/. What is answered here differs by person and by
moment, and holds a ticket: no browser may keep it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.access import actors_of
from accounts.actor import Actor
from accounts.pages.base import PortalRequest, fresh, look_at, signed_in
from clusters.access import may_open, notebook_for
from clusters.actions.apps import app_named, open_url, subject_of
from clusters.actions.notebook_shares import follow_share
from clusters.choices import AT_REST, AppState, Service, WorkloadStatus
from clusters.models import Workload
from clusters.pages.run_status import status_line
from clusters.queries.runs import detail_of
from portal.lib.errors import NotFound

# Says that the person comes from the sign-in form.
_SIGNED_IN = "signed-in"


@require_safe
def open_app(request: HttpRequest, name: str) -> HttpResponseBase:
    """Let a signed-in person into what is served as `name`, at the path `?next=`.

    The browser that has just sent the sign-in form may not be led elsewhere by its answer: the
    form's page forbids it. It is given a page that goes on by itself.
    """
    if not request.user.is_authenticated:
        query = urlencode({"next": request.GET.get("next", ""), _SIGNED_IN: "1"})
        return fresh(redirect_to_login(f"{request.path}?{query}"))
    if _SIGNED_IN in request.GET:
        again = f"{request.path}?{urlencode({'next': request.GET.get('next', '')})}"
        return fresh(render(request, "clusters/open_on.html", {"url": again}))
    return fresh(_open(request, name))


@signed_in
def _open(request: PortalRequest, name: str) -> HttpResponse:
    """Its origin with a ticket, else its page, else a page that says why not."""
    service, public_id = subject_of(name)
    actor, found = _seen_by(request, name, service, public_id)
    if found is not None:
        if not may_open(actor, found, service):
            return render(request, "clusters/open_denied.html", {"job": found}, status=403)
        app = app_named(name)
        if app is None or app.state != AppState.READY:
            return _not_ready(request, actor, found)
    path = request.GET.get("next", "")
    key = request.session.session_key or ""
    url = open_url(actor, name, session_key=key, path=path)
    return HttpResponseRedirect(url, status=303)
