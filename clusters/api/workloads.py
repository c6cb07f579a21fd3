"""What routes of jobs and of notebooks have in common: lists in pages, one with its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from billing.queries.usage import Part, billed_us_of, cost_of, intervals_of
from clusters.actions.launching import RESOURCE_KIND
from clusters.api.workload_serializers import WithAttemptsSerializer, WorkloadSerializer
from clusters.choices import WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.queries.attempts import attempt_facts, attempts_of, latest_by_job, unseen_of
from clusters.queries.runs import queue_positions
from portal.lib import clock
from portal.lib.errors import InvalidInput, NotFound
from portal.lib.rest import ErrorSerializer

PAGE_SIZE = 50
ERRORS = {"4XX": ErrorSerializer}
IDEMPOTENCY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)


def pages_of(statuses: Iterable[WorkloadStatus]) -> list[OpenApiParameter]:
    """The parameters `page` reads."""
    return [
        OpenApiParameter("status", str, enum=[status.value for status in statuses]),
        OpenApiParameter("before", str, description="Id of the last one of the page before."),
    ]


def page(
    request: Request, found: QuerySet[Workload], shape: type[WorkloadSerializer]
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of `found`, newest first, as `shape`, and what `?before=` names for the page after.

    Raises InvalidInput for a status there is none of, NotFound for an id that is none of `found`.
    """
    wanted = request.query_params.get("status")
    chosen = found.select_related("pool", "price__book", "volume")
    if wanted is not None:
        if wanted not in WorkloadStatus.values:
            raise InvalidInput.of(status=f"One of: {', '.join(WorkloadStatus.values)}.")
        chosen = chosen.filter(status=wanted)
    before = request.query_params.get("before")
    if before is not None:
        last = found.filter(public_id=clean_id(before)).first()
        if last is None:
            raise NotFound("There is none of this id to go on from.")
        chosen = chosen.filter(pk__lt=last.pk)
    rows = list(chosen[: PAGE_SIZE + 1])
    shown = rows[:PAGE_SIZE]
    next_page = shown[-1].public_id if len(rows) > PAGE_SIZE else None
    return _listed(shown, shape), next_page


def _listed(workloads: Sequence[Workload], shape: type[WorkloadSerializer]) -> list[dict[str, Any]]:
    """In a fixed number of queries."""
    keys = [workload.pk for workload in workloads]
    times = billed_us_of(RESOURCE_KIND, keys)
    context = _context(workloads, latest_by_job(workloads)) | {
        "costs": cost_of(RESOURCE_KIND, keys),
        "seconds": {key: us / 1_000_000 for key, us in times.items()},
    }
    many: Any = workloads  # the stubs know a single instance only
    return list(shape(many, many=True, context=context).data)


def render_one(
    workload: Workload, shape: type[WithAttemptsSerializer], *related: str
) -> dict[str, Any]:
    """One with its attempts, read again as it stands, in a fixed number of queries."""
    rows = Workload.objects.select_related("pool", "price__book", "volume", *related)
    workload = rows.get(pk=workload.pk)
    return _one(workload, attempts_of(workload), intervals_of(RESOURCE_KIND, workload.pk), shape)


def render_new(
    workload: Workload, attempt: Attempt, shape: type[WithAttemptsSerializer]
) -> dict[str, Any]:
    """What was just launched: nothing has been used yet, and nothing need be read again."""
    return _one(workload, [attempt], (), shape)


def _one(
    workload: Workload,
    attempts: Sequence[Attempt],
    parts: Iterable[Part],
    shape: type[WithAttemptsSerializer],
) -> dict[str, Any]:
    facts = attempt_facts(attempts, parts, at=clock.now())
    context = _context([workload], {workload.pk: attempts[-1]} if attempts else {}) | {
        "costs": {workload.pk: sum(one.cost_micros for one in facts)},
        "seconds": {workload.pk: sum(one.billed_us for one in facts) / 1_000_000},
        "attempts": {workload.pk: facts},
    }
    return dict(shape(workload, context=context).data)


def _context(workloads: Sequence[Workload], latest: Mapping[int, Attempt]) -> dict[str, Any]:
    """What the serializers look up by a workload's key; workloads come with their pools."""
    return {
        "latest": latest,
        "positions": queue_positions(workloads),
        "unseen": unseen_of((one, latest[one.pk]) for one in workloads if one.pk in latest),
    }


def clean_id(public_id: str) -> str:
    """An id as it may be looked up."""
    return public_id.replace("\0", "")[:60]
