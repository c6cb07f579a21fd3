"""/api/v1/jobs"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from accounts.api.idempotency import once
from billing.queries.usage import Part, billed_us_of, cost_of, intervals_of
from clusters.access import job_for, jobs_of
from clusters.actions.jobs import cancel, launch_attempt
from clusters.actions.launch_checks import JobRequest
from clusters.actions.launching import RESOURCE_KIND
from clusters.api.serializers import (
    JobDetailSerializer,
    JobListSerializer,
    JobRequestSerializer,
    JobSerializer,
)
from clusters.choices import WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.queries.attempts import (
    attempt_facts,
    attempts_of,
    latest_by_job,
    unseen_of,
)
from clusters.queries.jobs import queue_positions
from portal.lib import clock
from portal.lib.errors import InvalidInput
from portal.lib.rest import ErrorSerializer

PAGE_SIZE = 50
ERRORS = {"4XX": ErrorSerializer}


def render(jobs: Sequence[Workload]) -> list[dict[str, Any]]:
    """The jobs as the API lists them, in a fixed number of queries."""
    keys = [job.pk for job in jobs]
    times = billed_us_of(RESOURCE_KIND, keys)
    context = _context(jobs, latest_by_job(jobs)) | {
        "costs": cost_of(RESOURCE_KIND, keys),
        "seconds": {key: us / 1_000_000 for key, us in times.items()},
    }
    many: Any = jobs  # the stubs know a single instance only
    return list(JobSerializer(many, many=True, context=context).data)


def render_one(job: Workload) -> dict[str, Any]:
    """One job with its attempts, read again as it stands, in a fixed number of queries."""
    job = Workload.objects.select_related("pool", "price__book").get(pk=job.pk)
    return _one(job, attempts_of(job), intervals_of(RESOURCE_KIND, job.pk))


def render_new(job: Workload, attempt: Attempt) -> dict[str, Any]:
    """What `launch_attempt` returns: nothing has been used yet, and nothing need be read again."""
    return _one(job, [attempt], ())


def _one(job: Workload, attempts: Sequence[Attempt], parts: Iterable[Part]) -> dict[str, Any]:
    facts = attempt_facts(attempts, parts, at=clock.now())
    context = _context([job], {job.pk: attempts[-1]} if attempts else {}) | {
        "costs": {job.pk: sum(one.cost_micros for one in facts)},
        "seconds": {job.pk: sum(one.billed_us for one in facts) / 1_000_000},
        "attempts": {job.pk: facts},
    }
    return dict(JobDetailSerializer(job, context=context).data)


def _context(jobs: Sequence[Workload], latest: Mapping[int, Attempt]) -> dict[str, Any]:
    """What the serializers look up by a job's key; jobs come with their pools."""
    return {
        "latest": latest,
        "positions": queue_positions(jobs),
        "unseen": unseen_of((job, latest[job.pk]) for job in jobs if job.pk in latest),
    }


class JobsView(APIView):
    """List and launch."""

    @extend_schema(
        operation_id="jobs_list",
        parameters=[
            OpenApiParameter("status", str, enum=WorkloadStatus.values),
            OpenApiParameter("before", str, description="Id of the last job of the page before."),
        ],
        responses={200: JobListSerializer, **ERRORS},
    )
    def get(self, request: Request) -> Response:
        """The team's jobs, newest first."""
        jobs = jobs_of(actor_of(request)).select_related("price__book")
        wanted = request.query_params.get("status")
        if wanted is not None:
            if wanted not in WorkloadStatus.values:
                raise InvalidInput.of(status=f"One of: {', '.join(WorkloadStatus.values)}.")
            jobs = jobs.filter(status=wanted)
        before = request.query_params.get("before")
        if before is not None:
            jobs = jobs.filter(pk__lt=job_for(actor_of(request), clean_id(before)).pk)
        page = list(jobs[: PAGE_SIZE + 1])
        more = len(page) > PAGE_SIZE
        shown = page[:PAGE_SIZE]
        return Response({"jobs": render(shown), "next": shown[-1].public_id if more else None})

    @extend_schema(
        operation_id="jobs_create",
        request=JobRequestSerializer,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        responses={201: JobDetailSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Launch a job."""
        actor = actor_of(request)
        body = JobRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            made = launch_attempt(actor, JobRequest(**body.validated_data))
            return Response(render_new(*made), status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class JobView(APIView):
    """One job."""

    @extend_schema(operation_id="jobs_get", responses={200: JobDetailSerializer, **ERRORS})
    def get(self, request: Request, job_id: str) -> Response:
        """The job as it stands."""
        return Response(render_one(job_for(actor_of(request), clean_id(job_id))))


class JobCancelView(APIView):
    """Stop."""

    @extend_schema(
        operation_id="jobs_cancel", request=None, responses={200: JobDetailSerializer, **ERRORS}
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Ask the job to stop: SIGTERM, the pool's grace, SIGKILL."""
        actor = actor_of(request)
        return once(request, actor, lambda: Response(render_one(cancel(actor, clean_id(job_id)))))


def clean_id(job_id: str) -> str:
    """An id as it may be looked up."""
    return job_id.replace("\0", "")[:60]
