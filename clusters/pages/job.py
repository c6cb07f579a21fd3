"""/jobs/<id>/: one job's page, the part of it that changes, and Stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import job_for, may_open
from clusters.actions.jobs import cancel
from clusters.backends.base import OutputFile
from clusters.choices import AttemptState, Service, WorkloadStatus
from clusters.models import Workload
from clusters.pages.output import asked_attempt
from clusters.pages.run_facts import details_of, steps_of
from clusters.pages.run_now import chart_words, now_of
from clusters.queries.logs import files_of, shown_attempt
from clusters.queries.runs import detail_of
from clusters.queries.sides import board_open_of
from clusters.queries.terminals import offers_terminal
from portal.lib.errors import Conflict, Unavailable

FILES_SHOWN = 200


@require_safe
@signed_in
def job(request: PortalRequest, job_id: str) -> HttpResponse:
    """The whole page; log, charts and status come live through its socket.

    `?attempt=` shows the log, files and charts of that attempt instead of the latest.
    """
    found = job_for(request.actor, job_id[:60])
    chosen = asked_attempt(request)
    context = _now(request, found, chosen) | {
        "command": found.command,
        "chart_words": chart_words(found),
        "board": board_open_of(found),
    }
    return fresh(render(request, "clusters/job.html", context))


@require_safe
@signed_in
def job_status(request: PortalRequest, job_id: str) -> HttpResponse:
    """Status, cost and timeline, as they stand."""
    found = job_for(request.actor, job_id[:60])
    context = _now(request, found, asked_attempt(request)) | {"is_part": True}
    return fresh(render(request, "clusters/job_now.html", context))


@require_safe
@signed_in
def job_files(request: PortalRequest, job_id: str) -> HttpResponse:
    """The files one attempt left so far."""
    found = job_for(request.actor, job_id[:60])
    chosen = asked_attempt(request)
    attempt = shown_attempt(found, chosen)
    context: dict[str, Any] = {
        "job": found,
        "is_final": attempt is None or attempt.state == AttemptState.ENDED,
        "asked": f"?attempt={chosen}" if chosen is not None else "",
    }
    files: Sequence[OutputFile] = ()
    try:
        files = files_of(found, attempt)
    except Unavailable as error:
        context["problem"] = error.message
    shown = [file for file in files if not _is_hidden(file.path)]
    context |= {
        "files": shown[:FILES_SHOWN],
        "more": max(0, len(shown) - FILES_SHOWN),
        "total_bytes": sum(file.size_bytes for file in shown),
    }
    return fresh(render(request, "clusters/job_files.html", context))


@require_POST
@signed_in
def job_cancel(request: PortalRequest, job_id: str) -> HttpResponse:
    """Ask it to stop."""
    try:
        found = cancel(request.actor, job_id[:60])
    except Conflict:
        messages.info(request, "It had ended already.")
    else:
        is_gone = found.status == WorkloadStatus.CANCELLED
        text = (
            "Taken out of the queue." if is_gone else "Asked to stop. It may still save its work."
        )
        messages.success(request, text)
    return HttpResponseRedirect(reverse("job", args=[job_id]), status=303)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _now(request: PortalRequest, found: Workload, attempt: int | None) -> dict[str, Any]:
    """What changes while the job lives."""
    detail = detail_of(found, attempt=attempt)
    own = {
        "steps": steps_of(detail),
        "details": details_of(detail),
        "may_terminal": may_open(request.actor, found, Service.TERMINAL) and offers_terminal(found),
    }
    return now_of(detail, chosen=attempt) | own
