"""/jobs/new/: the form, and the panel beside it that says what it will cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import team_of
from accounts.actor import Actor
from accounts.pages.base import PortalRequest, fresh, signed_in
from billing.queries.budgets import cap_of
from clusters.access import job_for, jobs_of, notebook_for, pools_of, volumes_of
from clusters.actions.jobs import launch
from clusters.actions.launching import quote
from clusters.examples import EXAMPLES, Example, example_of
from clusters.forms import LaunchForm
from clusters.models import Pool, Workload
from clusters.pages.offers import QUOTED, offer_of, pool_choices, split
from clusters.pages.submission import submit
from portal.lib.errors import NotFound
from portal.lib.money import MICROS, cost_micros

DEFAULT_LIMIT_SECONDS = 3600


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def job_new(request: PortalRequest) -> HttpResponse:
    """The form; a good one leads to the page of the new job."""
    pools, volumes = list(pools_of(request.actor)), list(volumes_of(request.actor))
    if request.method != "POST":
        form = LaunchForm(initial=_initial(request, pools), pools=pools, volumes=volumes)
        return _form(request, form, pools, status=200)
    form = LaunchForm(request.POST, pools=pools, volumes=volumes)
    actor = request.actor
    came = submit(actor, form, lambda: form.request, lambda asked: launch(actor, asked).public_id)
    if not came.run_id:
        return _form(request, form, pools, status=came.status, refusal=came.refusal)
    name = form.request.name.strip()
    if came.is_known:
        messages.info(request, f"{name} was launched from this form already: this is the run.")
    else:
        messages.success(request, f"{name} is launched.")
    return HttpResponseRedirect(reverse("job", args=[came.run_id]), status=303)


@require_safe
@signed_in
def job_quote(request: PortalRequest) -> HttpResponse:
    """The panel for what is typed so far."""
    values = {key: request.GET.get(key, "") for key in QUOTED}
    offer = offer_of(request.actor, values, pools_of(request.actor))
    return fresh(render(request, "clusters/quote.html", {"offer": offer, "is_part": True}))


def example_cost_micros(actor: Actor, example: Example) -> int | None:
    """About what the example costs in the first pool that has its environment."""
    pool = next((p for p in pools_of(actor) if example.environment in p.offered_environments), None)
    if pool is None:
        return None
    try:
        price = quote(
            team_of(actor), pool=pool, gpus=example.gpus, time_limit_seconds=example.about_seconds
        )
    except NotFound:
        return None
    return cost_micros(price.micros_per_gpu_hour, example.gpus, example.about_seconds * 1_000_000)


def _form(
    request: PortalRequest, form: LaunchForm, pools: list[Pool], *, status: int, refusal: str = ""
) -> HttpResponse:
    values = {name: form[name].value() for name in QUOTED}
    context = {
        "form": form,
        "pools": pool_choices(request.actor, pools, values["pool"]),
        "offer": offer_of(request.actor, values, pools),
        "has_nodes": any(pool.max_nodes_per_workload > 1 for pool in pools),
        "volumes": volumes_of(request.actor),
        "examples": EXAMPLES,
        "refusal": refusal,
    }
    return render(request, "clusters/job_new.html", context, status=status)


def _initial(request: PortalRequest, pools: list[Pool]) -> dict[str, Any]:
    """What the form starts with: a clone, an example, else what was used last."""
    clone = request.GET.get("clone", "").replace("\0", "")[:60]
    if clone:
        return _of_job(job_for(request.actor, clone), whole=True)
    notebook = request.GET.get("notebook", "").replace("\0", "")[:60]
    if notebook:
        return _of_notebook(notebook_for(request.actor, notebook))
    last = jobs_of(request.actor).select_related("volume").filter(created_by=request.user).first()
    values = _of_job(last, whole=False) if last else _defaults(pools)
    if values["pool"] not in {pool.slug for pool in pools}:
        values = _defaults(pools)
    example = example_of(request.GET.get("example", ""))
    return values | _of_example(example, values["pool"], pools) if example else values


def _defaults(pools: list[Pool]) -> dict[str, Any]:
    first = pools[0] if pools else None
    return {
        "pool": first.slug if first else "",
        "gpus": 1,
        "environment": next(iter(first.offered_environments), "") if first else "",
        **split(DEFAULT_LIMIT_SECONDS),
    }


def _of_job(job: Workload, *, whole: bool) -> dict[str, Any]:
    values = {
        "pool": job.pool.slug,
        "gpus": job.gpus,
        "nodes": job.nodes,
        "retries": job.max_retries,
        "project": job.project,
        "max_cost": Decimal(cap_of(job.public_id)) / MICROS or None,
        "environment": job.environment,
        "volume": job.volume.public_id if job.volume else "",
        **split(job.time_limit_seconds),
    }
    if whole:
        lines = "".join(f"{name}={value}\n" for name, value in job.env.items())
        values |= {"name": job.name, "command": job.command, "env": lines}
    return values


def _of_notebook(notebook: Workload) -> dict[str, Any]:
    """A job where the notebook is: what it runs is for its person to say."""
    return {
        "name": notebook.name,
        "pool": notebook.pool.slug,
        "gpus": notebook.gpus,
        "nodes": 1,
        "project": notebook.project,
        "environment": notebook.environment,
        "volume": notebook.volume.public_id if notebook.volume else "",
        **split(DEFAULT_LIMIT_SECONDS),
    }


def _of_example(example: Example, slug: str, pools: list[Pool]) -> dict[str, Any]:
    able = [pool.slug for pool in pools if example.environment in pool.offered_environments]
    return {
        "name": example.name,
        "pool": slug if slug in able or not able else able[0],
        "gpus": example.gpus,
        "nodes": 1,
        "environment": example.environment,
        "command": example.command,
        **split(example.time_limit_seconds),
    }
