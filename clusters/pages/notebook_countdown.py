"""/notebooks/<id>/countdown/: where the mail about a notebook that will stop leads."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import may_open, notebook_for
from clusters.choices import Reason, Service, WorkloadStatus
from clusters.pages.run_now import links_of


@require_safe
@signed_in
def notebook_countdown(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Both ways out, the one that `?choose=` names first.

    Nothing is done before a button is pressed: programs that look through mail follow its links.
    """
    found = notebook_for(request.actor, notebook_id[:60])
    own = found.notebook
    is_counting = own.stops_at is not None and found.status == WorkloadStatus.RUNNING
    context = {
        "job": found,
        "own": own,
        "links": links_of(found),
        "is_counting": is_counting,
        "may_work": is_counting and may_open(request.actor, found, Service.LAB),
        "can_keep": own.stops_for != Reason.STOP_TIME,
        "stop_first": request.GET.get("choose") == "stop",
    }
    return fresh(render(request, "clusters/notebook_countdown.html", context))
