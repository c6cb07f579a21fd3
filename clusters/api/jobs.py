"""/api/v1/jobs"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from accounts.api.idempotency import once
from clusters.access import job_for, jobs_of
from clusters.actions.jobs import cancel, launch_attempt
from clusters.actions.launch_checks import JobRequest
from clusters.api.job_serializers import (
    JobDetailSerializer,
    JobListSerializer,
    JobRequestSerializer,
    JobSerializer,
)
from clusters.api.workloads import (
    ERRORS,
    IDEMPOTENCY,
    clean_id,
    page,
    pages_of,
    render_new,
    render_one,
)
from clusters.choices import JOB_TRANSITIONS


class JobsView(APIView):
    """List and launch."""

    @extend_schema(
        operation_id="jobs_list",
        parameters=pages_of(JOB_TRANSITIONS.states()),
        responses={200: JobListSerializer, **ERRORS},
    )
    def get(self, request: Request) -> Response:
        """The team's jobs, newest first."""
        jobs, next_page = page(request, jobs_of(actor_of(request)), JobSerializer)
        return Response({"jobs": jobs, "next": next_page})

    @extend_schema(
        operation_id="jobs_create",
        request=JobRequestSerializer,
        parameters=[IDEMPOTENCY],
        responses={201: JobDetailSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Launch a job."""
        actor = actor_of(request)
        body = JobRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            job, attempt = launch_attempt(actor, JobRequest(**body.validated_data))
            made = render_new(job, attempt, JobDetailSerializer)
            return Response(made, status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class JobView(APIView):
    """One job."""

    @extend_schema(operation_id="jobs_get", responses={200: JobDetailSerializer, **ERRORS})
    def get(self, request: Request, job_id: str) -> Response:
        """The job as it stands."""
        job = job_for(actor_of(request), clean_id(job_id))
        return Response(render_one(job, JobDetailSerializer))


class JobCancelView(APIView):
    """Stop."""

    @extend_schema(
        operation_id="jobs_cancel", request=None, responses={200: JobDetailSerializer, **ERRORS}
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Ask the job to stop: SIGTERM, the pool's grace, SIGKILL."""
        actor = actor_of(request)

        def deed() -> Response:
            job = cancel(actor, clean_id(job_id))
            return Response(render_one(job, JobDetailSerializer))

        return once(request, actor, deed)
