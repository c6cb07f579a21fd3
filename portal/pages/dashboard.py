"""The dashboard: what runs, what waits, what it costs, what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from accounts.pages.base import PortalRequest, signed_in
from billing.models import CreditLot
from billing.pages.facts import facts_of as facts_of_funds
from billing.queries.usage import burn_of, cost_of, spent_micros
from clusters.access import workloads_of
from clusters.actions.launching import RESOURCE_KIND
from clusters.choices import AT_REST, Reason, WorkloadStatus
from clusters.models import Workload
from clusters.queries.attempts import ran_by_job
from clusters.queries.runs import queue_positions
from portal.context import LIVE, FrameFacts, facts_of, launch_url
from portal.lib import clock
from portal.templatetags.portal_format import money

RECENT = 8
LIVE_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A run with what it came to so far; `rate_micros` an hour is 0 when nothing ticks.

    `ticks_from`: since when it would have run for that long without a break.
    """

    job: Workload
    reason: str
    cost_micros: int
    rate_micros: int
    running_for: timedelta | None
    ticks_from: datetime
    position: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the first-steps list."""

    title: str
    text: str
    url: str
    action: str
    is_done: bool


@require_safe
@vary_on_headers("HX-Request")
@signed_in
def dashboard(request: PortalRequest) -> HttpResponse:
    """The page, or for htmx only what changes by itself."""
    facts = facts_of(request)
    assert facts is not None  # noqa: S101  # signed_in gave the request its actor
    is_part = bool(request.htmx)
    template = "portal/dashboard_live.html" if is_part else "portal/dashboard.html"
    response = render(request, template, _context(facts) | {"is_part": is_part})
    response["Cache-Control"] = "no-store"
    return response


def _context(facts: FrameFacts) -> dict[str, Any]:
    jobs = workloads_of(facts.actor).filter(notebook__removed_at__isnull=True)
    live = list(jobs.filter(status__in=[WorkloadStatus.QUEUED, *LIVE])[:LIVE_SHOWN])
    ended = list(jobs.filter(status__in=AT_REST)[:RECENT])
    costs = cost_of(RESOURCE_KIND, [job.pk for job in [*live, *ended]])
    positions = queue_positions(live)
    at = clock.now()
    ran = ran_by_job([*live, *ended], at=at)
    burns = burn_of(RESOURCE_KIND, [job.pk for job in live])
    rows = [_row(job, costs, positions, ran, at, burns.get(job.pk, 0)) for job in live]
    queued = [row for row in rows if row.job.status == WorkloadStatus.QUEUED]
    return {
        "facts": _money_facts(facts),
        "running_rows": [row for row in rows if row.job.status != WorkloadStatus.QUEUED],
        "queued_rows": sorted(queued, key=lambda row: (row.position or 0, row.job.pk)),
        "recent_rows": [_row(job, costs, positions, ran, at) for job in ended],
        "steps": [] if rows or ended else _first_steps(facts),
        "at": at,
    }


def _row(
    job: Workload,
    costs: dict[int, int],
    positions: dict[int, int],
    ran: dict[int, timedelta],
    at: datetime,
    rate_micros: int = 0,
) -> Row:
    return Row(
        job=job,
        reason=job.detail or Reason(job.reason).label,
        cost_micros=costs.get(job.pk, 0),
        rate_micros=rate_micros,
        running_for=ran.get(job.pk),
        ticks_from=at - ran.get(job.pk, timedelta(0)),
        position=positions.get(job.pk),
    )


def _money_facts(facts: FrameFacts) -> list[dict[str, str]]:
    assert facts.money is not None  # noqa: S101  # signed_in gave the actor a team
    balance, *others = facts_of_funds(facts.money)
    return [
        balance | {"url": reverse("top_up"), "why": "Add credit"},
        *others,
        {
            "label": f"Spent in {clock.now():%B}",
            "value": money(spent_micros(facts.account, at=clock.now()) if facts.account else 0),
            "url": reverse("billing"),
            "why": "See what for",
        },
    ]


def _first_steps(facts: FrameFacts) -> list[Step]:
    user, account = facts.actor.user, facts.account
    has_credit = CreditLot.objects.filter(account=account).exists()
    return [
        Step(
            title="Verify your e-mail address",
            text="So that invoices and warnings reach you.",
            url=reverse("account_email"),
            action="Verify",
            is_done=EmailAddress.objects.filter(user=user, verified=True).exists(),
        ),
        Step(
            title="Add credit",
            text="You pay from it by the second; nothing is charged while nothing runs.",
            url=reverse("top_up"),
            action="Add credit",
            is_done=has_credit,
        ),
        Step(
            title="Launch the digits example",
            text="Trains a classifier on 1,797 handwritten digits and saves the model.",
            url=launch_url() + "?example=digits",
            action="Launch the example",
            is_done=False,
        ),
    ]
