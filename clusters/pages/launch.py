"""/jobs/new/: the form, and the panel beside it that says what it will cost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import team_of
from accounts.actions.idempotency import Answer, answer_once
from accounts.actor import Actor
from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of
from billing.queries.budgets import cap_of
from billing.queries.funds import Funds, funds_of, runway_text
from clusters.access import job_for, jobs_of, pools_of
from clusters.actions.jobs import launch
from clusters.actions.launching import Quote, quote
from clusters.examples import EXAMPLES, Example, example_of
from clusters.forms import LaunchForm
from clusters.models import Pool, Workload
from clusters.queries.attempts import is_queued_by_engine
from clusters.queries.pools import Room, longest_wait, room_of
from portal.lib.errors import InsufficientFunds, InvalidInput, NotFound
from portal.lib.money import MICROS, cost_micros

# What the panel beside the form depends on.
QUOTED = ("pool", "gpus", "nodes", "hours", "minutes")
MOST_GPUS = 10_000
MOST_SECONDS = 10 * 366 * 86_400
DEFAULT_LIMIT_SECONDS = 3600
TOP_UP_STEP = 5 * MICROS


@dataclass(frozen=True, slots=True)
class Offer:
    """What the panel says: None where a thing is not known from what is typed so far."""

    pool: Pool
    gpus: int
    nodes: int
    time_limit_seconds: int
    price: Quote
    most_micros: int
    room: Room
    wait: timedelta | None
    is_queued_by_engine: bool
    fits: bool
    funds: Funds
    short_micros: int

    @property
    def gpus_left_over(self) -> int:
        """GPUs that equal shares of the nodes leave over."""
        return self.gpus % self.nodes

    @property
    def runway(self) -> str:
        """How long the balance lasts once this runs too, in words."""
        burn = self.funds.burn_micros_per_hour + self.price.micros_per_hour
        return runway_text(max(0, self.funds.spendable_micros * 3600 // burn) if burn else None)

    @property
    def top_up_url(self) -> str:
        """Where the credit that is missing can be added."""
        dollars = -(-self.short_micros // TOP_UP_STEP) * TOP_UP_STEP // MICROS
        return f"{reverse('top_up')}?amount={dollars}" if dollars > 0 else reverse("top_up")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def job_new(request: PortalRequest) -> HttpResponse:
    """The form; a good one leads to the page of the new job."""
    pools = list(pools_of(request.actor))
    if request.method != "POST":
        form = LaunchForm(initial=_initial(request, pools), pools=pools)
        return _form(request, form, pools, status=200)
    form = LaunchForm(request.POST, pools=pools)
    if not form.is_valid():
        return _form(request, form, pools, status=400)
    try:
        answer = _launch_once(request.actor, form)
    except InvalidInput as error:
        form.refuse(error)
        return _form(request, form, pools, status=400)
    except InsufficientFunds as error:
        return _form(request, form, pools, status=402, refusal=error.message)
    name = form.request.name.strip()
    if answer.is_replayed:
        messages.info(request, f"{name} was launched from this form already: this is the run.")
    else:
        messages.success(request, f"{name} is launched.")
    return HttpResponseRedirect(reverse("job", args=[answer.body["id"]]), status=303)


def _launch_once(actor: Actor, form: LaunchForm) -> Answer:
    """Launch what a valid form asks for; the same form sent again finds the same job.

    A form that was changed meanwhile (the way back, then Launch) is another one.
    """
    asked = form.request

    def deed() -> Answer:
        return Answer(status=201, body={"id": launch(actor, asked).public_id})

    key = form.cleaned_data["form_key"]
    if not key:
        with transaction.atomic():
            return deed()
    digest = hashlib.sha256(json.dumps(asdict(asked), sort_keys=True).encode()).hexdigest()
    return answer_once(team_of(actor), key=f"form:{key}:{digest}", digest=digest, deed=deed)


@require_safe
@signed_in
def job_quote(request: PortalRequest) -> HttpResponse:
    """The panel for what is typed so far."""
    pools = list(pools_of(request.actor))
    values = {key: request.GET.get(key, "") for key in QUOTED}
    context = {"offer": _offer(request.actor, values, pools), "is_part": True}
    response = render(request, "clusters/quote.html", context)
    response["Cache-Control"] = "no-store"
    return response


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
        "pools": [_choice(request.actor, pool, values["pool"]) for pool in pools],
        "offer": _offer(request.actor, values, pools),
        "has_nodes": any(pool.max_nodes_per_workload > 1 for pool in pools),
        "examples": EXAMPLES,
        "refusal": refusal,
    }
    return render(request, "clusters/job_new.html", context, status=status)


def _choice(actor: Actor, pool: Pool, chosen: Any) -> dict[str, Any]:
    """A pool as the form offers it."""
    return {
        "pool": pool,
        "room": room_of(pool),
        "price_micros": _price(actor, pool),
        "is_queued_by_engine": is_queued_by_engine(pool),
        "is_chosen": pool.slug == chosen,
    }


def _price(actor: Actor, pool: Pool) -> int | None:
    try:
        return quote(team_of(actor), pool=pool, gpus=1, time_limit_seconds=3600).micros_per_hour
    except NotFound:
        return None


def _offer(actor: Actor, values: dict[str, Any], pools: list[Pool]) -> Offer | None:
    """What is typed so far at a price; None while it is no order yet."""
    pool = next((pool for pool in pools if pool.slug == values["pool"]), None)
    gpus = _whole(values["gpus"], most=MOST_GPUS)
    nodes = _whole(values["nodes"] or 1, most=MOST_GPUS) or 1
    seconds = _seconds(values)
    if pool is None or not gpus or not seconds:
        return None
    try:
        price = quote(team_of(actor), pool=pool, gpus=gpus, time_limit_seconds=seconds)
    except NotFound:
        return None
    room = room_of(pool)
    fits = (
        gpus <= min(room.total, pool.max_gpus_per_workload)
        and nodes <= pool.max_nodes_per_workload
        and gpus % nodes == 0
    )
    is_queued = is_queued_by_engine(pool)
    funds = funds_of(account_of(actor))
    return Offer(
        pool=pool,
        gpus=gpus,
        nodes=nodes,
        time_limit_seconds=seconds,
        price=price,
        most_micros=cost_micros(price.micros_per_gpu_hour, gpus, seconds * 1_000_000),
        room=room,
        wait=longest_wait(pool, gpus=gpus) if fits and not is_queued else None,
        is_queued_by_engine=is_queued,
        fits=fits,
        funds=funds,
        short_micros=max(0, price.hold_micros - funds.available_micros),
    )


def _seconds(values: dict[str, Any]) -> int | None:
    hours = _whole(values["hours"] or 0, most=MOST_SECONDS // 3600)
    minutes = _whole(values["minutes"] or 0, most=MOST_SECONDS // 60)
    if hours is None or minutes is None:
        return None
    return hours * 3600 + minutes * 60


def _whole(value: Any, *, most: int) -> int | None:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return None
    return int(text) if int(text) <= most else None


def _initial(request: PortalRequest, pools: list[Pool]) -> dict[str, Any]:
    """What the form starts with: a clone, an example, else what was used last."""
    clone = request.GET.get("clone", "").replace("\0", "")[:60]
    if clone:
        return _of_job(job_for(request.actor, clone), whole=True)
    last = jobs_of(request.actor).filter(created_by=request.user).first()
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
        **_split(DEFAULT_LIMIT_SECONDS),
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
        **_split(job.time_limit_seconds),
    }
    if whole:
        lines = "".join(f"{name}={value}\n" for name, value in job.env.items())
        values |= {"name": job.name, "command": job.command, "env": lines}
    return values


def _of_example(example: Example, slug: str, pools: list[Pool]) -> dict[str, Any]:
    able = [pool.slug for pool in pools if example.environment in pool.offered_environments]
    return {
        "name": example.name,
        "pool": slug if slug in able or not able else able[0],
        "gpus": example.gpus,
        "nodes": 1,
        "environment": example.environment,
        "command": example.command,
        **_split(example.time_limit_seconds),
    }


def _split(seconds: int) -> dict[str, int]:
    """Seconds as hours and minutes, rounded up to a minute."""
    minutes = -(-seconds // 60)
    return {"hours": minutes // 60, "minutes": minutes % 60}
