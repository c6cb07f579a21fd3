"""/notebooks/schedules/new/ and .../edit/: the form, the times it means and what a run costs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.actor import Actor
from accounts.pages.base import PortalRequest, fresh, signed_in
from clusters.access import (
    may_change_schedule,
    notebook_for,
    pools_of,
    schedule_for,
    volumes_of,
)
from clusters.actions.notebook_checks import environments_of
from clusters.actions.notebook_runs import run_notebook
from clusters.actions.schedules import create_schedule, update_schedule
from clusters.models import Pool, Schedule, Workload
from clusters.pages.offers import offer_of, pool_choices, split
from clusters.pages.submission import Outcome, submit
from clusters.queries.schedules import next_times
from clusters.schedule_forms import ScheduleForm, lines_of
from clusters.times import EXAMPLES, check_cron, check_zone, words_of, zones
from portal.lib.errors import InvalidInput, NotAllowed
from portal.lib.money import MICROS

QUOTED = ("pool", "gpus", "hours", "minutes")
DEFAULT_LIMIT_SECONDS = 3600
DEFAULT_CRON = "0 3 * * *"


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def schedule_new(request: PortalRequest) -> HttpResponse:
    """The form; a good one leads to the new schedule, or with Run once to the job."""
    pools, volumes = running_pools(request.actor), list(volumes_of(request.actor))
    if request.method != "POST":
        form = ScheduleForm(initial=_initial(request, pools), pools=pools, volumes=volumes)
        return _form(request, form, pools)
    form = ScheduleForm(request.POST, pools=pools, volumes=volumes)
    actor = request.actor
    if "once" in request.POST:
        came = submit(
            actor, form, lambda: form.run, lambda asked: run_notebook(actor, asked).job.public_id
        )
    else:
        came = submit(
            actor,
            form,
            lambda: form.request,
            lambda asked: create_schedule(actor, asked).public_id,
        )
    if not came.run_id:
        return _form(request, form, pools, came=came)
    return _made(request, came, form.run.name.strip(), is_once="once" in request.POST)


def _made(request: PortalRequest, came: Outcome, name: str, *, is_once: bool) -> HttpResponse:
    if came.is_known:
        messages.info(request, f"{name} was made from this form already: this is it.")
    elif is_once:
        messages.success(request, f"{name} is launched.")
    page = reverse("job" if is_once else "schedule", args=[came.run_id])
    return HttpResponseRedirect(page, status=303)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def schedule_edit(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """The form with what is; a good one changes it and leads back to it."""
    found = schedule_for(request.actor, schedule_id[:60])
    if not may_change_schedule(request.actor, found):
        raise NotAllowed("This schedule is another member's. They, or an owner, can change it.")
    pools, volumes = running_pools(request.actor), list(volumes_of(request.actor))
    if request.method != "POST":
        form = ScheduleForm(initial=_of_schedule(found), pools=pools, volumes=volumes)
        return _form(request, form, pools, schedule=found)
    form = ScheduleForm(request.POST, pools=pools, volumes=volumes)
    if form.is_valid():
        try:
            update_schedule(request.actor, found.public_id, form.request)
        except InvalidInput as error:
            form.refuse(error)
        else:
            messages.success(request, "Saved. From now on it runs as you.")
            return HttpResponseRedirect(reverse("schedule", args=[found.public_id]), status=303)
    return _form(request, form, pools, came=Outcome(status=400), schedule=found)


@require_safe
@signed_in
def schedule_quote(request: PortalRequest) -> HttpResponse:
    """What one run costs, for what is typed so far."""
    values = {key: request.GET.get(key, "") for key in QUOTED}
    offer = offer_of(request.actor, values, running_pools(request.actor))
    return fresh(render(request, "clusters/quote.html", {"offer": offer}))


@require_safe
@signed_in
def schedule_times(request: PortalRequest) -> HttpResponse:
    """When it would run, for what is typed so far."""
    times = _times(request.GET.get("cron", ""), request.GET.get("timezone", ""))
    return fresh(render(request, "clusters/schedule_times.html", times))


def running_pools(actor: Actor) -> list[Pool]:
    """The pools in which notebooks can run as jobs."""
    return [pool for pool in pools_of(actor) if environments_of(pool)]


def _times(cron: str, zone: str) -> dict[str, Any]:
    problem = check_cron(cron) or check_zone(zone)
    if problem:
        return {"problem": problem if cron.strip() else ""}
    return {"words": words_of(cron, zone), "times": next_times(cron, zone), "zone": zone}


def _form(
    request: PortalRequest,
    form: ScheduleForm,
    pools: list[Pool],
    *,
    came: Outcome | None = None,
    schedule: Schedule | None = None,
) -> HttpResponse:
    values = {name: form[name].value() for name in QUOTED}
    offer = offer_of(request.actor, values, pools)
    context = {
        "form": form,
        "schedule": schedule,
        "pools": pool_choices(request.actor, pools, values["pool"]),
        "volumes": volumes_of(request.actor),
        "offer": offer,
        "refusal": came.refusal if came else "",
        "examples": EXAMPLES.items(),
        "zones": sorted(zones()),
        **_times(str(form["cron"].value() or ""), str(form["timezone"].value() or "")),
    }
    status = came.status if came else 200
    return render(request, "clusters/schedule_form.html", context, status=status)


def _initial(request: PortalRequest, pools: list[Pool]) -> dict[str, Any]:
    """What the form starts with: a notebook's choices, or a path in a volume, or a copy."""

    def asked(name: str, most: int = 60) -> str:
        return request.GET.get(name, "").replace("\0", "")[:most]

    if asked("clone"):
        return _of_schedule(schedule_for(request.actor, asked("clone")))
    values = _defaults(pools)
    if asked("notebook"):
        values |= _of_notebook(notebook_for(request.actor, asked("notebook")))
    if asked("path", 1000):
        path = asked("path", 1000)
        values |= {"notebook": path, "name": PurePosixPath(path).stem}
    if asked("volume"):
        values["volume"] = asked("volume")
    return values


def _defaults(pools: list[Pool]) -> dict[str, Any]:
    first = pools[0] if pools else None
    return {
        "pool": first.slug if first else "",
        "gpus": 1,
        "environment": environments_of(first)[0] if first else "",
        "cron": DEFAULT_CRON,
        "timezone": "UTC",
        "skips_while_running": True,
        "catches_up": True,
        **split(DEFAULT_LIMIT_SECONDS),
    }


def _of_notebook(notebook: Workload) -> dict[str, Any]:
    volume = notebook.volume
    return {
        "name": notebook.name,
        "pool": notebook.pool.slug,
        "gpus": notebook.gpus,
        "environment": notebook.environment,
        "project": notebook.project,
        "volume": volume.public_id if volume is not None and volume.removed_at is None else "",
    }


def _of_schedule(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "pool": schedule.pool.slug,
        "gpus": schedule.gpus,
        "environment": schedule.environment,
        "volume": schedule.volume.public_id,
        "project": schedule.project,
        "max_cost": Decimal(schedule.max_cost_micros) / MICROS or None,
        "notebook": schedule.notebook,
        "output_folder": schedule.output_folder,
        "parameters": lines_of(schedule.parameters),
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "skips_while_running": schedule.skips_while_running,
        "catches_up": schedule.catches_up,
        **split(schedule.time_limit_seconds),
    }
