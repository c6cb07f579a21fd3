"""/api/v1/schedules and /api/v1/notebook-runs"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actor import Actor
from accounts.api.base import actor_of
from accounts.api.idempotency import once
from clusters.access import schedule_for, schedules_of
from clusters.actions.notebook_runs import NotebookRun, run_notebook
from clusters.actions.schedules import (
    create_schedule,
    pause_schedule,
    remove_schedule,
    request_of,
    resume_schedule,
    run_now,
    update_schedule,
)
from clusters.api.job_serializers import JobDetailSerializer
from clusters.api.schedule_serializers import (
    WHEN,
    NotebookRunSerializer,
    ScheduleListSerializer,
    ScheduleRequestSerializer,
    ScheduleRunListSerializer,
    ScheduleRunSerializer,
    ScheduleSerializer,
    request_from,
)
from clusters.api.workloads import ERRORS, IDEMPOTENCY, clean_id, render_new
from clusters.models import Schedule
from clusters.queries.schedules import rows_of, runs_of

RUNS_SHOWN = 50


def render(schedules: list[Schedule]) -> list[dict[str, Any]]:
    """Schedules as the API shows them, in a fixed number of queries."""
    rows: Any = rows_of(schedules)  # the stubs know a single instance only
    return list(ScheduleSerializer(rows, many=True).data)


class NotebookRunsView(APIView):
    """Run a notebook as a job, once."""

    @extend_schema(
        operation_id="notebook_runs_create",
        request=NotebookRunSerializer,
        parameters=[IDEMPOTENCY],
        responses={201: JobDetailSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Launch a notebook of a volume as a job; the last word of its command is its output."""
        actor = actor_of(request)
        body = NotebookRunSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            made = run_notebook(actor, NotebookRun(**body.validated_data))
            shown = render_new(made.job, made.attempt, JobDetailSerializer)
            return Response(shown, status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class SchedulesView(APIView):
    """List and create."""

    @extend_schema(operation_id="schedules_list", responses={200: ScheduleListSerializer, **ERRORS})
    def get(self, request: Request) -> Response:
        """The team's schedules, newest first."""
        return Response({"schedules": render(list(schedules_of(actor_of(request))))})

    @extend_schema(
        operation_id="schedules_create",
        request=ScheduleRequestSerializer,
        parameters=[IDEMPOTENCY],
        responses={201: ScheduleSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Run a notebook of a volume again and again."""
        actor = actor_of(request)
        body = ScheduleRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            made = create_schedule(actor, request_from(body.validated_data))
            return Response(render([made])[0], status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class ScheduleView(APIView):
    """One schedule."""

    @extend_schema(operation_id="schedules_get", responses={200: ScheduleSerializer, **ERRORS})
    def get(self, request: Request, schedule_id: str) -> Response:
        """The schedule as it stands."""
        return Response(render([schedule_for(actor_of(request), clean_id(schedule_id))])[0])

    @extend_schema(
        operation_id="schedules_change",
        request=ScheduleRequestSerializer(partial=True),
        responses={200: ScheduleSerializer, **ERRORS},
    )
    def patch(self, request: Request, schedule_id: str) -> Response:
        """Change what is given; from now on it runs as you. Its maker's, and owners'."""
        actor, key = actor_of(request), clean_id(schedule_id)
        before = request_of(schedule_for(actor, key))
        body = ScheduleRequestSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        known = {**asdict(before.run), **{name: getattr(before, name) for name in WHEN}}
        wanted = request_from({**known, **body.validated_data})
        return once(
            request, actor, lambda: Response(render([update_schedule(actor, key, wanted)])[0])
        )

    @extend_schema(operation_id="schedules_remove", request=None, responses={204: None, **ERRORS})
    def delete(self, request: Request, schedule_id: str) -> Response:
        """Launch nothing more and list it no more; its jobs and their output stay."""
        remove_schedule(actor_of(request), clean_id(schedule_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ScheduleRunsView(APIView):
    """What came of its times."""

    @extend_schema(
        operation_id="schedules_runs", responses={200: ScheduleRunListSerializer, **ERRORS}
    )
    def get(self, request: Request, schedule_id: str) -> Response:
        """The latest runs with their jobs, and what was refused, skipped or missed."""
        runs: Any = runs_of(schedule_for(actor_of(request), clean_id(schedule_id)))[:RUNS_SHOWN]
        return Response({"runs": ScheduleRunSerializer(runs, many=True).data})


class _VerbView(APIView):
    """One thing that is done to a schedule and asks for nothing more."""

    def _do(
        self, request: Request, schedule_id: str, verb: Callable[[Actor, str], Schedule]
    ) -> Response:
        actor = actor_of(request)
        return once(
            request, actor, lambda: Response(render([verb(actor, clean_id(schedule_id))])[0])
        )


class SchedulePauseView(_VerbView):
    """Pause."""

    @extend_schema(
        operation_id="schedules_pause", request=None, responses={200: ScheduleSerializer, **ERRORS}
    )
    def post(self, request: Request, schedule_id: str) -> Response:
        """Launch nothing until it is resumed; what runs goes on."""
        return self._do(request, schedule_id, pause_schedule)


class ScheduleResumeView(_VerbView):
    """Resume."""

    @extend_schema(
        operation_id="schedules_resume", request=None, responses={200: ScheduleSerializer, **ERRORS}
    )
    def post(self, request: Request, schedule_id: str) -> Response:
        """Go on with the next time to come, as you."""
        return self._do(request, schedule_id, resume_schedule)


class ScheduleNowView(APIView):
    """Run now."""

    @extend_schema(
        operation_id="schedules_run",
        request=None,
        parameters=[IDEMPOTENCY],
        responses={201: JobDetailSerializer, **ERRORS},
    )
    def post(self, request: Request, schedule_id: str) -> Response:
        """Launch it once, as you, beside its times."""
        actor = actor_of(request)

        def deed() -> Response:
            made = run_now(actor, clean_id(schedule_id))
            shown = render_new(made.job, made.attempt, JobDetailSerializer)
            return Response(shown, status=status.HTTP_201_CREATED)

        return once(request, actor, deed)
