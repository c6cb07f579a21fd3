"""/notebooks/new/: the form, and the panel beside it that says what it will cost."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.actor import Actor
from accounts.pages.base import PortalRequest, fresh, signed_in
from billing.queries.budgets import cap_of
from clusters.access import notebook_for, notebooks_of, pools_of, volumes_of
from clusters.actions.notebook_checks import (
    DEFAULT_LIFETIME_SECONDS,
    environments_of,
    serves,
)
from clusters.actions.notebooks import launch_notebook
from clusters.actions.request_checks import MAX_NAME
from clusters.models import Pool, Workload
from clusters.notebook_forms import MAX_DIGITS, NotebookForm, StopsForm
from clusters.pages.offers import offer_of, pool_choices, split
from clusters.pages.submission import submit
from clusters.words import environment_words, idle_rule
from portal.lib.money import MICROS

QUOTED = ("pool", "gpus", "hours", "minutes")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def notebook_new(request: PortalRequest) -> HttpResponse:
    """The form; a good one leads to the new notebook's page, which opens it once it is ready."""
    pools, volumes = serving_pools(request.actor), list(volumes_of(request.actor))
    if request.method != "POST":
        form = NotebookForm(initial=_initial(request, pools), pools=pools, volumes=volumes)
        return _form(request, form, pools, status=200)
    form = NotebookForm(request.POST, pools=pools, volumes=volumes)
    actor = request.actor
    came = submit(
        actor,
        form,
        lambda: form.request,
        lambda asked: launch_notebook(actor, asked)[0].public_id,
    )
    if not came.run_id:
        return _form(request, form, pools, status=came.status, refusal=came.refusal)
    if came.is_known:
        name = form.request.name.strip()
        messages.info(request, f"{name} was launched from this form already: this is it.")
    page = reverse("notebook", args=[came.run_id])
    return HttpResponseRedirect(f"{page}?{urlencode({'open': '1'})}", status=303)


@require_safe
@signed_in
def notebook_quote(request: PortalRequest) -> HttpResponse:
    """The panel for what is typed so far."""
    values = {key: request.GET.get(key, "") for key in QUOTED}
    offer = offer_of(request.actor, values, serving_pools(request.actor))
    return fresh(render(request, "clusters/quote.html", {"offer": offer, "is_part": True}))


def serving_pools(actor: Actor) -> list[Pool]:
    """The pools in which the actor can run notebooks."""
    return [pool for pool in pools_of(actor) if serves(pool)]


def _form(
    request: PortalRequest, form: NotebookForm, pools: list[Pool], *, status: int, refusal: str = ""
) -> HttpResponse:
    values = {name: form[name].value() for name in QUOTED}
    chosen = form["environment"].value()
    names = sorted({name for pool in pools for name in environments_of(pool)})
    context = {
        "form": form,
        "stops_form": form,
        "idle_rule": idle_rule(),
        "pools": pool_choices(request.actor, pools, values["pool"]),
        "environments": [
            {"slug": name, "words": environment_words(name), "is_chosen": name == chosen}
            for name in names
        ],
        "volumes": volumes_of(request.actor),
        "offer": offer_of(request.actor, values, pools),
        "refusal": refusal,
    }
    return render(request, "clusters/notebook_new.html", context, status=status)


def _initial(request: PortalRequest, pools: list[Pool]) -> dict[str, Any]:
    """What the form starts with: a clone, else what was used last."""
    clone = request.GET.get("clone", "").replace("\0", "")[:60]
    if clone:
        found = notebook_for(request.actor, clone)
        return _of_notebook(found) | {"name": _next_name(request.actor, found.name)}
    mine = notebooks_of(request.actor).filter(created_by=request.user)
    last = mine.first()
    values = _of_notebook(last) if last else _defaults(pools)
    if values["pool"] not in {pool.slug for pool in pools}:
        values = _defaults(pools)
    # A time to stop at was meant for that one alone.
    return values | {"name": f"notebook-{mine.count() + 1}", "stop_at": None}


def _next_name(actor: Actor, name: str) -> str:
    """The first of name-2, name-3 and so on that no notebook of the team has."""
    base, _, number = name.rpartition("-")
    if not (base and number.isascii() and number.isdigit() and len(number) < MAX_DIGITS):
        base, number = name, "1"
    taken = set(notebooks_of(actor).filter(name__startswith=base).values_list("name", flat=True))
    following = (f"-{one}" for one in count(int(number) + 1))
    names = (base[: MAX_NAME - len(ending)] + ending for ending in following)
    return next(one for one in names if one not in taken)


def _defaults(pools: list[Pool]) -> dict[str, Any]:
    first = pools[0] if pools else None
    return {
        "pool": first.slug if first else "",
        "gpus": 1,
        "environment": environments_of(first)[0] if first else "",
        **split(DEFAULT_LIFETIME_SECONDS),
        **StopsForm.values_of(None),
    }


def _of_notebook(notebook: Workload) -> dict[str, Any]:
    volume = notebook.volume
    return {
        "pool": notebook.pool.slug,
        "gpus": notebook.gpus,
        "environment": notebook.environment,
        "volume": volume.public_id if volume is not None and volume.removed_at is None else "",
        "project": notebook.project,
        "max_cost": Decimal(cap_of(notebook.public_id)) / MICROS or None,
        **split(notebook.time_limit_seconds),
        **StopsForm.values_of(notebook.notebook),
    }
