"""What stands on a notebook's page besides: the way to being ready, and when it stops by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clusters.choices import AT_REST, Reason, WorkloadStatus
from clusters.models import App, IdleStop, Notebook, Workload, WorkloadEvent
from clusters.pages.run_facts import asked_for, given_to, instant, price_of
from clusters.pages.run_status import status_line
from clusters.queries.attempts import is_queued_by_engine
from clusters.queries.events import of_latest_start
from clusters.queries.runs import RunDetail
from clusters.words import minutes_words
from portal.templatetags.portal_format import UNKNOWN, duration

Items = list[dict[str, Any]]
_OVER = AT_REST | {WorkloadStatus.STOPPING}


@dataclass(frozen=True, slots=True)
class _Mark:
    """A step of the way: what it is called once reached and while it is now, and when it was."""

    done: str
    now: str
    at: datetime | None
    text: str = ""


def progress_of(detail: RunDetail, app: App | None) -> Items:
    """From its latest start to being ready, and to its end: what was reached when, what is now.

    A retry begins the way anew.
    """
    events = of_latest_start(detail.events)
    retries = [index for index, event in enumerate(events) if event.reason == Reason.RETRYING]
    events = events[retries[-1] :] if retries else events
    if not events:
        return []
    is_over = events[-1].status in _OVER
    steps = _steps(events[0].at, _way(detail, events, app), now=detail.cost.at, is_over=is_over)
    return steps + _end(events[-1])


def _way(detail: RunDetail, events: Sequence[WorkloadEvent], app: App | None) -> list[_Mark]:
    begun = _when(events, WorkloadStatus.RUNNING)
    placed = _when(events, WorkloadStatus.STARTING) or begun
    ready = _when(events, WorkloadStatus.RUNNING, Reason.RUNNING)
    line = status_line(detail)
    way = [
        _Mark("Queued", "In the queue", placed, f"{line.reason} {line.more}".strip()),
        _Mark("GPUs allotted", "GPUs allotted", placed),
        _Mark("Sandbox made", "Making the sandbox", begun),
        _Mark("Server started", "Server starting", ready, app.failure if app else ""),
        _Mark("Ready", "Ready", ready),
    ]
    if is_queued_by_engine(detail.job.pool):
        del way[1]  # such an engine allots and starts at once
    return way


def _steps(queued: datetime, way: Sequence[_Mark], *, now: datetime, is_over: bool) -> Items:
    """Those that an end came before are left out."""
    steps: Items = []
    before = queued
    for mark in way:
        is_next = bool(steps) and steps[-1]["state"] != "done"
        if mark.at is not None:
            at = queued if mark is way[0] else mark.at
            text = "" if mark.at == before else f"Took {_took(mark.at - before)}."
            steps.append({"title": mark.done, "text": text, "at": at, "state": "done"})
            before = mark.at
        elif is_over:
            break
        elif is_next:
            steps.append({"title": mark.done, "state": "next"})
        else:
            so_far = {"since": before, "lasts": now - before, "state": "now"}
            steps.append({"title": mark.now, "text": mark.text} | so_far)
    return steps


def _when(
    events: Sequence[WorkloadEvent], status: WorkloadStatus, reason: Reason | None = None
) -> datetime | None:
    """When it first came to that."""
    for event in events:
        if event.status == status and reason in {None, event.reason}:
            return event.at
    return None


def _took(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{max(0.0, seconds):.1f} s" if seconds < 60 else duration(time)


def _end(last: WorkloadEvent) -> Items:
    if last.status == WorkloadStatus.STOPPING:
        by = f" by {last.actor}" if last.actor and last.actor != "FastGPU" else ""
        text = f"Asked{by}. It may still save its work."
        return [{"title": "Stopping", "text": text, "at": last.at, "state": "now"}]
    if last.status in AT_REST:
        state = "bad" if last.status == WorkloadStatus.FAILED else "done"
        title, text = last.get_status_display(), f"{Reason(last.reason).label}."
        return [{"title": title, "text": text, "at": last.at, "state": state}]
    return []


def stops_fact(run: Workload, own: Notebook) -> dict[str, Any]:
    """When it stops by itself, as one of the facts beside its status."""
    if own.stops_at is not None and run.status not in AT_REST:
        return {"label": "Stops", "at": own.stops_at, "note": why_words(own.stops_for)}
    if own.stop_at is not None and run.status not in AT_REST:
        note = f"Or {idle_words(own).lower()}" if own.idle_minutes else idle_words(own)
        return {"label": "Stops", "at": own.stop_at, "note": note}
    if not own.idle_minutes:
        return {"label": "Stops when idle for", "value": "Never", "note": "Only at its limit"}
    idle = minutes_words(own.idle_minutes)
    return {"label": "Stops when idle for", "value": idle, "note": "Change it under Idle"}


def why_words(reason: str) -> str:
    """What a countdown runs for, in a few words."""
    return "At the time it was told to" if reason == Reason.STOP_TIME else "Nothing is done in it"


def idle_words(own: Notebook) -> str:
    """How long it may be idle."""
    if not own.idle_minutes:
        return "Not for idleness"
    return f"When idle for {minutes_words(own.idle_minutes)}"


def past_stop(stop: IdleStop) -> dict[str, Any]:
    """A stop for idleness and the looks it was decided by, made by `queries.notebooks.look`."""
    return {
        "at": stop.at,
        "minutes": minutes_words(stop.idle_minutes),
        "attempt": stop.attempt_number,
        "looks": [
            one
            | {
                "at": datetime.fromtimestamp(one["at"] / 1000, UTC),
                "gpu": _percent(one["gpu_percent"]),
                "cpu": _percent(one["cpu_percent"]),
            }
            for one in stop.evidence
        ],
    }


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} %"


def notebook_details(detail: RunDetail, own: Notebook, address: str) -> Items:
    """What was asked for, what it is given and where it is."""
    run = detail.job
    stop_at = instant(own.stop_at) if own.stop_at else "At no set time"
    return [
        *asked_for(run),
        {"label": "Address", "value": address, "copyable": True},
        {"label": "Runs at most", "value": f"{duration(run.time_limit_seconds)} a start"},
        {"label": "Stops", "value": idle_words(own)},
        {"label": "Stops at", "value": stop_at},
        *price_of(run, "a start, if it runs so long"),
        *given_to(run),
    ]


def remove_dialog(run: Workload) -> dict[str, Any]:
    """What removing it does."""
    files = "Nobody can reach them any more"
    if run.volume is not None:
        files = f"Those in {run.volume.name} stay; all others nobody can reach any more"
    return {
        "title": f"Remove {run.name}?",
        "text": "It is listed no more and cannot be started again.",
        "facts": [
            {"label": "Files", "value": files},
            {"label": "Bill", "value": "What it has cost stays on your invoices"},
        ],
        "button": "Remove it",
    }
