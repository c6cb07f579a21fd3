"""/api/v1/jobs/<id>/terminal and /api/v1/notebooks/<id>/terminal"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from clusters.access import job_for, notebook_for
from clusters.actions.terminals import open_terminal
from clusters.addresses import open_address
from clusters.api.workloads import ERRORS, clean_id
from clusters.choices import Service
from clusters.models import Workload


class TerminalSerializer(serializers.Serializer[Any]):
    """Where a browser finds it."""

    url = serializers.URLField()


def _open(request: Request, run: Workload) -> Response:
    """Safe to repeat, so no Idempotency-Key is needed."""
    open_terminal(actor_of(request), run.public_id)
    shown = TerminalSerializer({"url": open_address(run, Service.TERMINAL)})
    return Response(shown.data, status=status.HTTP_201_CREATED)


class JobTerminalView(APIView):
    """A terminal in a job."""

    @extend_schema(
        operation_id="jobs_terminal",
        request=None,
        responses={201: TerminalSerializer, **ERRORS},
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Open it; the address is for the browser of who may, signed in. The job must run."""
        return _open(request, job_for(actor_of(request), clean_id(job_id)))


class NotebookTerminalView(APIView):
    """A terminal in a notebook's sandbox."""

    @extend_schema(
        operation_id="notebooks_terminal",
        request=None,
        responses={201: TerminalSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """Open it; the address is for the browser of who may, signed in. The notebook must run."""
        return _open(request, notebook_for(actor_of(request), clean_id(notebook_id)))
