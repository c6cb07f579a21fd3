"""/jobs/<id>/: one job's page, the part of it that changes, and Stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.pages.base import PortalRequest, signed_in
from clusters.access import job_for
from clusters.actions.jobs import cancel
from clusters.backends.base import BackendUnavailable, OutputFile
from clusters.backends.registry import backend
from clusters.choices import Reason, WorkloadStatus
from clusters.models import Workload, WorkloadEvent
from clusters.queries.jobs import JobDetail, detail_of, is_charging, most_micros, rate_of
from clusters.queries.logs import latest_attempt
from clusters.queries.pools import longest_wait
from portal.lib.errors import Conflict
from portal.templatetags.portal_format import duration, money, money_precise

FILES_SHOWN = 200


@require_safe
@signed_in
def job(request: PortalRequest, job_id: str) -> HttpResponse:
    """The whole page; log, charts and status come live through its socket."""
    found = job_for(request.actor, job_id[:60])
    context = _now(found) | {
        "details": _details(found),
        "command": found.command,
        "socket": f"/ws/jobs/{found.public_id}/",
    }
    return _fresh(render(request, "clusters/job.html", context))


@require_safe
@signed_in
def job_status(request: PortalRequest, job_id: str) -> HttpResponse:
    """Status, cost and timeline, as they stand."""
    found = job_for(request.actor, job_id[:60])
    return _fresh(render(request, "clusters/job_now.html", _now(found) | {"is_part": True}))


@require_safe
@signed_in
def job_files(request: PortalRequest, job_id: str) -> HttpResponse:
    """The files the latest attempt left so far."""
    found = job_for(request.actor, job_id[:60])
    context: dict[str, Any] = {"job": found, "is_final": detail_of(found).is_final}
    attempt = latest_attempt(found)
    files: list[OutputFile] = []
    try:
        if attempt is not None and attempt.started_at is not None:
            files = list(backend(found.pool.backend).list_files(attempt.external_name))
    except BackendUnavailable:
        context["problem"] = "The files cannot be listed just now. Try again shortly."
    shown = [file for file in files if not _is_hidden(file.path)]
    context |= {
        "files": shown[:FILES_SHOWN],
        "more": max(0, len(shown) - FILES_SHOWN),
        "total_bytes": sum(file.size_bytes for file in shown),
    }
    return _fresh(render(request, "clusters/job_files.html", context))


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


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _now(found: Workload) -> dict[str, Any]:
    """What changes while the job lives."""
    detail = detail_of(found)
    until = found.ended_at or detail.cost.at
    return {
        "job": found,
        "detail": detail,
        "is_waiting": found.status == WorkloadStatus.QUEUED,
        "may_stop": not detail.is_final and found.status != WorkloadStatus.STOPPING,
        "ran_for": until - found.started_at if found.started_at else None,
        "is_charging": is_charging(found),
        "rate_micros": rate_of(found),
        "most_micros": most_micros(found),
        "steps": _steps(detail),
        "why": _why(detail),
        "stop": _stop_dialog(found),
    }


def _why(detail: JobDetail) -> dict[str, str]:
    """The reason as a sentence, then what is known beyond it and what to do."""
    said = detail.job.detail.strip().removesuffix(".")
    code = detail.attempt.exit_code if detail.attempt else None
    if not said and code and detail.job.status == WorkloadStatus.FAILED:
        said = f"exit code {code}"
    is_new = said and said.lower() != detail.reason.lower()
    more = [f"{said[0].upper()}{said[1:]}." if is_new else "", detail.advice]
    if detail.job.status == WorkloadStatus.RUNNING:
        return {"reason": "Charged by the second until it ends.", "more": ""}
    return {"reason": f"{detail.reason}.", "more": " ".join(filter(None, more))}


def _steps(detail: JobDetail) -> list[dict[str, Any]]:
    """The timeline: what happened, what is now, what comes next."""
    last = len(detail.events) - 1
    steps = [
        {
            "title": event.get_status_display(),
            "text": _event_text(event, detail if index == last else None),
            "at": event.at,
            "state": _tone(event, is_last=index == last, is_final=detail.is_final),
        }
        for index, event in enumerate(detail.events)
    ]
    done = {event.status for event in detail.events}
    coming = [WorkloadStatus.STARTING, WorkloadStatus.RUNNING]
    if not detail.is_final and detail.job.status != WorkloadStatus.STOPPING:
        steps += [{"title": s.label, "state": "next"} for s in coming if s not in done]
        steps.append({"title": "Ended", "state": "next"})
    return steps


def _tone(event: WorkloadEvent, *, is_last: bool, is_final: bool) -> str:
    if not is_last:
        return "done"
    if not is_final:
        return "now"
    return "bad" if event.status == WorkloadStatus.FAILED else "done"


def _event_text(event: WorkloadEvent, now: JobDetail | None) -> str:
    """The reason in words; for the last event, what is known beyond it."""
    reason = Reason(event.reason)
    by = f" by {event.actor}" if event.actor and event.actor != "FastGPU" else ""
    if event.status == WorkloadStatus.QUEUED:
        return f"Launched{by}. {_queue_words(now)}".strip()
    if reason == Reason.STOP_REQUESTED:
        return f"Asked to stop{by}. It may still save its work."
    if now is None or reason == Reason.RUNNING:
        return ""
    return f"{reason.label}."


def _queue_words(now: JobDetail | None) -> str:
    if now is None or now.position is None:
        return ""
    place = "Next in the queue." if now.position == 1 else f"Place {now.position} in the queue."
    if not now.job.pool.may_start:
        return f"{place} The pool starts nothing at present."
    wait = longest_wait(now.job.pool, gpus=now.job.gpus, before=now.job)
    if not wait:
        return place
    return f"{place} Starts within {duration(wait)} at the latest."


def _details(found: Workload) -> list[dict[str, Any]]:
    attempt = latest_attempt(found)
    items: list[dict[str, Any]] = [
        {"label": "Id", "value": found.public_id, "copyable": True},
        {"label": "Launched by", "value": str(found.created_by)},
        {"label": "Launched", "value": _instant(found.created_at)},
        {"label": "Pool", "value": found.pool.name},
        {"label": "GPU", "value": f"{found.gpus} \N{MULTIPLICATION SIGN} {found.pool.gpu_model}"},
        {"label": "Environment", "value": found.environment, "mono": True},
        {"label": "Time limit", "value": duration(found.time_limit_seconds)},
        {"label": "Price", "value": f"{money(found.price.micros_per_hour)} per GPU and hour"},
        {"label": "At most", "value": f"{money_precise(most_micros(found))} at its time limit"},
    ]
    if found.env:
        items.append({"label": "Variables", "value": ", ".join(found.env), "mono": True})
    if attempt is not None:
        items.append({"label": "Attempt", "value": str(attempt.number)})
    return items + _limits(found)


def _limits(found: Workload) -> list[dict[str, Any]]:
    pool = found.pool
    memory = pool.memory_bytes_per_gpu * found.gpus / 1024**3
    return [
        {"label": "Memory", "value": f"{memory:.1f} GiB"},
        {"label": "CPU", "value": f"{pool.cpu_cores_per_gpu * found.gpus:g} cores"},
        {"label": "Disk", "value": f"{pool.disk_bytes / 1024**3:.0f} GiB"},
        {"label": "Network", "value": "Allowed" if pool.has_network else "None"},
    ]


def _instant(at: datetime) -> str:
    return f"{at:%-d %b %Y, %H:%M:%S} UTC"


def _stop_dialog(found: Workload) -> dict[str, Any]:
    """What Stop does and what still costs."""
    if found.started_at is None:
        return {
            "title": f"Stop {found.name}?",
            "text": "It is taken out of the queue, or ended before it has begun.",
            "facts": [
                {"label": "Charged", "value": "Nothing, unless it has begun meanwhile"},
                {"label": "Files", "value": "None yet"},
            ],
            "button": "Stop it",
        }
    grace = found.pool.grace_seconds
    rate = rate_of(found)
    still = rate * grace // 3600
    return {
        "title": f"Stop {found.name}?",
        "text": f"It is asked to end, and ended after {grace} seconds if it has not.",
        "facts": [
            {"label": "Still costs", "value": f"Up to {money_precise(still)} for those seconds"},
            {"label": "After that", "value": f"Nothing: {money(rate)}/h is saved"},
            {"label": "Files", "value": "What it wrote is kept"},
        ],
        "button": "Stop the job",
    }
