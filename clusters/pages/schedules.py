"""/notebooks/schedules/: the list, and one schedule with what came of its times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import may_change_schedule, schedule_for, schedules_of
from clusters.actions.notebook_runs import WORKSPACE
from clusters.choices import RunOutcome
from clusters.models import Schedule, ScheduleRun
from clusters.pages.run_facts import instant
from clusters.queries import runs
from clusters.queries.schedules import ScheduleRow, next_times, rows_of, runs_of
from clusters.schedule_forms import lines_of
from portal.lib import clock
from portal.templatetags.portal_format import duration, money

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class RunLine:
    """What came of one time: `run`, and `row`, the job that was launched, if one was."""

    run: ScheduleRun
    row: runs.RunRow | None

    @property
    def tone(self) -> str:
        """How a time at which nothing was launched is shown."""
        return "bad" if self.run.outcome == RunOutcome.REFUSED else "warn"


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def schedules(request: PortalRequest) -> HttpResponse:
    """The team's schedules, newest first; for htmx only the table."""
    template = "schedules_live.html" if request.htmx else "schedules.html"
    rows = rows_of(list(schedules_of(request.actor)))
    context = {"rows": rows, "here": request.get_full_path()}
    return fresh(render(request, f"clusters/{template}", context))


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def schedule(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """When it runs, and what came of it so far; for htmx only what changes."""
    found = schedule_for(request.actor, schedule_id[:60])
    template = "schedule_live.html" if request.htmx else "schedule.html"
    context = _live(request, found)
    if not request.htmx:
        context |= {"details": _details(found), "remove": _remove_dialog(found)}
    return fresh(render(request, f"clusters/{template}", context))


def _live(request: PortalRequest, found: Schedule) -> dict[str, Any]:
    came = runs_of(found).select_related("workload__pool")
    page = Paginator(came, PAGE_SIZE).get_page(request.GET.get("page"))
    row = rows_of([found])[0]
    is_on = found.is_on
    return {
        "schedule": found,
        "row": row,
        "own_facts": _facts(row),
        "times": next_times(found.cron, found.timezone) if is_on else [],
        "may_change": may_change_schedule(request.actor, found),
        "lines": _lines(list(page.object_list)),
        "page": page,
        "here": request.get_full_path(),
        "at": clock.now(),
    }


def _lines(came: list[ScheduleRun]) -> list[RunLine]:
    rows = runs.rows_of([run.workload for run in came if run.workload is not None])
    by_job = {row.job.pk: row for row in rows}
    return [RunLine(run, by_job.get(run.workload_id or 0)) for run in came]


def _facts(row: ScheduleRow) -> list[dict[str, Any]]:
    found, last = row.schedule, row.last
    following: dict[str, Any] = {"label": "Next run", "value": "None", "note": "It is paused"}
    if found.next_at is not None:
        following = {"label": "Next run", "at": found.next_at, "note": instant(found.next_at)}
    latest: dict[str, Any] = {"label": "Latest run", "value": "None yet"}
    if last is not None:
        job = last.workload
        word = job.get_status_display() if job else last.get_outcome_display()
        latest = {"label": "Latest run", "value": word, "note": instant(last.at)}
    limit = f"Paused after {settings.SCHEDULE_FAILURES} in a row"
    failures = f"{found.failures_in_row} in a row" if found.failures_in_row else "None of late"
    return [
        following,
        latest,
        {
            "label": "Failed",
            "value": failures,
            "note": limit,
        },
    ]


def _details(found: Schedule) -> list[dict[str, Any]]:
    """What runs, in what, and as whom."""
    gpu = f"{found.gpus} \N{MULTIPLICATION SIGN} {found.pool.name}"
    cost = money(found.max_cost_micros) if found.max_cost_micros else "No limit"
    beside = found.output_folder or "Beside the notebook"
    parameters = ", ".join(lines_of(found.parameters).splitlines()) or "None"
    running = "Skipped" if found.skips_while_running else "Run beside it"
    away = "One run for all of them" if found.catches_up else "Left out"
    return [
        {"label": "Id", "value": found.public_id, "copyable": True},
        {"label": "Notebook", "value": WORKSPACE + found.notebook, "mono": True},
        {"label": "Volume", "value": found.volume.name},
        {"label": "Output", "value": beside, "mono": bool(found.output_folder)},
        {
            "label": "Parameters",
            "value": parameters,
            "mono": True,
        },
        {"label": "Times", "value": found.cron, "mono": True},
        {"label": "While the run before goes", "value": running},
        {"label": "Times that passed", "value": away},
        {"label": "Where", "value": gpu},
        {"label": "Environment", "value": found.environment, "mono": True},
        {"label": "Time limit", "value": duration(found.time_limit_seconds)},
        {"label": "Each run costs at most", "value": cost},
        {"label": "Project", "value": found.project or "None"},
        {"label": "Runs as", "value": str(found.runs_as)},
        {"label": "Made by", "value": f"{found.created_by}, {instant(found.created_at)}"},
    ]


def _remove_dialog(found: Schedule) -> dict[str, Any]:
    return {
        "title": f"Remove {found.name}?",
        "text": "It launches nothing any more and is listed no more.",
        "facts": [
            {"label": "What runs now", "value": "Goes on"},
            {"label": "Its jobs and their output", "value": "Stay where they are"},
        ],
        "button": "Remove it",
    }
