"""/notebooks/<id>/: one notebook's page and the parts of it that change."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.choices import Role
from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import may_open, notebook_for
from clusters.addresses import open_address, open_path
from clusters.choices import AT_REST, Reason, Service, WorkloadStatus
from clusters.models import Workload
from clusters.notebook_forms import StopsForm
from clusters.pages.notebook_facts import (
    notebook_details,
    past_stop,
    progress_of,
    remove_dialog,
    stops_fact,
    why_words,
)
from clusters.pages.output import (
    asked_attempt,
    log_response,
    scalars_response,
    telemetry_response,
)
from clusters.pages.run_now import chart_words, now_of
from clusters.queries.logs import shown_attempt
from clusters.queries.notebooks import idle_stops_of, lab_of, look, looks_at
from clusters.queries.runs import detail_of
from clusters.queries.sides import board_open_of
from clusters.queries.terminals import offers_terminal
from clusters.words import idle_rule

# Where it has its GPUs and is not of use yet, or waits for them.
_ON_ITS_WAY = (WorkloadStatus.QUEUED, WorkloadStatus.STARTING)


@require_safe
@signed_in
def notebook(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """The whole page; log, charts and status come live through its socket.

    With `?open=1` it opens by itself once it is ready, at the path `?next=`.
    """
    found = notebook_for(request.actor, notebook_id[:60])
    stops = StopsForm(initial=StopsForm.values_of(found.notebook))
    context = _now(request, found) | {
        "chart_words": chart_words(found),
        "board": board_open_of(found),
        "opens": request.GET.get("open") == "1",
        "stops_form": stops,
        "idle_rule": idle_rule(),
        "idle_stops": [past_stop(stop) for stop in idle_stops_of(found)],
        "remove": remove_dialog(found),
    }
    return fresh(render(request, "clusters/notebook.html", context))


@require_safe
@signed_in
def notebook_status(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """Status, cost, progress and what can be done, as they stand."""
    found = notebook_for(request.actor, notebook_id[:60])
    context = _now(request, found) | {"is_part": True}
    return fresh(render(request, "clusters/notebook_now.html", context))


@require_safe
@signed_in
def notebook_log_download(request: PortalRequest, notebook_id: str) -> HttpResponseBase:
    """The whole log of one attempt as a file."""
    found = notebook_for(request.actor, notebook_id[:60])
    return log_response(found, asked_attempt(request))


@require_safe
@signed_in
def notebook_telemetry(request: PortalRequest, notebook_id: str) -> JsonResponse:
    """The stored samples of one attempt, thinned out; times in milliseconds UTC."""
    found = notebook_for(request.actor, notebook_id[:60])
    return telemetry_response(found, asked_attempt(request))


@require_safe
@signed_in
def notebook_scalars(request: PortalRequest, notebook_id: str) -> JsonResponse:
    """What one attempt has written for TensorBoard, thinned out; times in epoch seconds."""
    found = notebook_for(request.actor, notebook_id[:60])
    return scalars_response(found, asked_attempt(request))


@require_safe
@signed_in
def notebook_idle(request: PortalRequest, notebook_id: str) -> HttpResponse:
    """What one attempt was judged by, look by look; times in milliseconds UTC."""
    found = notebook_for(request.actor, notebook_id[:60])
    attempt = shown_attempt(found, asked_attempt(request))
    looks = looks_at(found, attempt.number) if attempt else []
    number = attempt.number if attempt else 0
    return fresh(JsonResponse({"attempt": number, "looks": [look(one) for one in looks]}))


def _now(request: PortalRequest, found: Workload) -> dict[str, Any]:
    """What changes while it lives."""
    chosen = asked_attempt(request)
    detail = detail_of(found, attempt=chosen)
    own, app = found.notebook, lab_of(detail.attempt)
    is_mine = request.actor.role == Role.OWNER or found.created_by_id == request.user.pk
    path = request.GET.get("next", "")
    is_starting = found.reason == Reason.SERVER_STARTING
    return now_of(detail, chosen=chosen) | {
        "own": own,
        # Of one that was given up for its silence the reason says that already.
        "answered": app.failure if app and found.reason != Reason.SERVER_SILENT else "",
        "own_facts": [stops_fact(found, own)],
        "steps": progress_of(detail, app),
        "details": notebook_details(detail, own, open_address(found)),
        "may_work": may_open(request.actor, found, Service.LAB),
        "is_mine": is_mine,
        "may_terminal": is_mine and offers_terminal(found),
        "is_ready": found.status == WorkloadStatus.RUNNING and not is_starting,
        "is_on_its_way": found.status in _ON_ITS_WAY or (is_starting and not detail.is_final),
        "is_at_rest": found.status in AT_REST,
        "has_failed": found.status == WorkloadStatus.FAILED,
        "countdown": why_words(own.stops_for) if own.stops_at else "",
        "idle_for": detail.cost.at - own.idle_since if own.idle_since else None,
        "open_url": f"{open_path(found)}?{urlencode({'next': path})}" if path else open_path(found),
        "next_path": path,
    }
