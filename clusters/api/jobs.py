"""/api/v1/jobs"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from accounts.api.idempotency import once
from billing.queries.usage import billed_us_of, cost_of
from clusters.access import job_for, jobs_of
from clusters.actions.jobs import RESOURCE_KIND, cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.api.serializers import (
    JobListSerializer,
    JobRequestSerializer,
    JobSerializer,
    LogSerializer,
)
from clusters.choices import WorkloadStatus
from clusters.models import Attempt, Workload
from clusters.queries.jobs import queue_positions
from clusters.queries.logs import read_log
from portal.lib.errors import InvalidInput
from portal.lib.rest import ErrorSerializer

PAGE_SIZE = 50
LOG_LIMIT = 256 * 1024
ERRORS = {"4XX": ErrorSerializer}


def render(jobs: Sequence[Workload]) -> list[dict[str, Any]]:
    """The jobs as the API shows them, in a fixed number of queries."""
    keys = [job.pk for job in jobs]
    context = {
        "costs": cost_of(RESOURCE_KIND, keys),
        "seconds": {key: us / 1_000_000 for key, us in billed_us_of(RESOURCE_KIND, keys).items()},
        "positions": queue_positions(jobs),
    }
    many: Any = jobs  # the stubs know a single instance only
    return list(JobSerializer(many, many=True, context=context).data)


def with_attempts(jobs: QuerySet[Workload]) -> QuerySet[Workload]:
    """Load what `render` reads."""
    return jobs.select_related("price__book").prefetch_related(
        Prefetch("attempts", queryset=Attempt.objects.order_by("number"))
    )


def render_one(job: Workload) -> dict[str, Any]:
    """One job, read again as it stands."""
    return render([with_attempts(Workload.objects.select_related("pool")).get(pk=job.pk)])[0]


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
        jobs = with_attempts(jobs_of(actor_of(request)))
        wanted = request.query_params.get("status")
        if wanted is not None:
            if wanted not in WorkloadStatus.values:
                raise InvalidInput.of(status=f"One of: {', '.join(WorkloadStatus.values)}.")
            jobs = jobs.filter(status=wanted)
        before = request.query_params.get("before")
        if before is not None:
            jobs = jobs.filter(pk__lt=job_for(actor_of(request), _clean(before)).pk)
        page = list(jobs[: PAGE_SIZE + 1])
        more = len(page) > PAGE_SIZE
        shown = page[:PAGE_SIZE]
        return Response({"jobs": render(shown), "next": shown[-1].public_id if more else None})

    @extend_schema(
        operation_id="jobs_create",
        request=JobRequestSerializer,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        responses={201: JobSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Launch a job."""
        actor = actor_of(request)
        body = JobRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            job = launch(actor, JobRequest(**body.validated_data))
            return Response(render_one(job), status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class JobView(APIView):
    """One job."""

    @extend_schema(operation_id="jobs_get", responses={200: JobSerializer, **ERRORS})
    def get(self, request: Request, job_id: str) -> Response:
        """The job as it stands."""
        return Response(render_one(job_for(actor_of(request), _clean(job_id))))


class JobCancelView(APIView):
    """Stop."""

    @extend_schema(
        operation_id="jobs_cancel", request=None, responses={200: JobSerializer, **ERRORS}
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Ask the job to stop: SIGTERM, the pool's grace, SIGKILL."""
        actor = actor_of(request)
        return once(request, actor, lambda: Response(render_one(cancel(actor, _clean(job_id)))))


class JobLogsView(APIView):
    """The log."""

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[OpenApiParameter("offset", int, description="Byte to start from.")],
        responses={200: LogSerializer, **ERRORS},
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Text from a byte offset, resumable."""
        offset = _offset(request.query_params.get("offset", "0"))
        chunk = read_log(job_for(actor_of(request), _clean(job_id)), offset=offset, limit=LOG_LIMIT)
        return Response(
            {
                "offset": chunk.offset,
                "next_offset": chunk.next_offset,
                "complete": chunk.complete,
                "text": chunk.data.decode("utf-8", "replace"),
            }
        )


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput.of(offset="A byte offset of 0 or more is needed.")
    return int(text)


def _clean(job_id: str) -> str:
    return job_id.replace("\0", "")[:60]
