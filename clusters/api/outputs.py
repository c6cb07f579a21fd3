"""/api/v1/jobs/<id>/logs and /files: what each attempt printed and wrote."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from clusters.access import job_for, notebook_for
from clusters.api.serializers import FileListSerializer, FileSerializer, LogSerializer
from clusters.api.workloads import ERRORS, clean_id
from clusters.downloads import file_response
from clusters.models import Workload
from clusters.queries.attempts import number_in
from clusters.queries.logs import files_of, read_log, shown_attempt
from portal.lib.errors import InvalidInput, NotFound

LOG_LIMIT = 256 * 1024
MOST_FILES = 10_000
ATTEMPT = OpenApiParameter(
    "attempt", int, description="Which one; by default the latest that has begun."
)


OFFSET = OpenApiParameter("offset", int, description="Byte to start from.")


class JobLogsView(APIView):
    """The log."""

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[OFFSET, ATTEMPT],
        responses={200: LogSerializer, **ERRORS},
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Text from a byte offset, resumable."""
        return _log(request, job_for(actor_of(request), clean_id(job_id)))


class NotebookLogsView(APIView):
    """What the server of a notebook prints."""

    @extend_schema(
        operation_id="notebooks_logs",
        parameters=[OFFSET, ATTEMPT],
        responses={200: LogSerializer, **ERRORS},
    )
    def get(self, request: Request, notebook_id: str) -> Response:
        """Text from a byte offset, resumable."""
        return _log(request, notebook_for(actor_of(request), clean_id(notebook_id)))


def _log(request: Request, run: Workload) -> Response:
    piece = read_log(
        run,
        offset=_offset(request.query_params.get("offset", "0")),
        limit=LOG_LIMIT,
        attempt=_attempt(request),
    )
    return Response(
        {
            "attempt": piece.attempt,
            "offset": piece.chunk.offset,
            "next_offset": piece.chunk.next_offset,
            "complete": piece.chunk.complete,
            "text": piece.chunk.data.decode("utf-8", "replace"),
        }
    )


class JobFilesView(APIView):
    """The files."""

    @extend_schema(
        operation_id="jobs_files",
        parameters=[ATTEMPT],
        responses={200: FileListSerializer, **ERRORS},
    )
    def get(self, request: Request, job_id: str) -> Response:
        """What an attempt left in its home folder so far."""
        job = job_for(actor_of(request), clean_id(job_id))
        shown = shown_attempt(job, _attempt(request))
        files = files_of(job, shown)
        many: Any = files[:MOST_FILES]  # the stubs know a single instance only
        return Response(
            {
                "attempt": shown.number if shown else 0,
                "files": FileSerializer(many, many=True).data,
                "more": max(0, len(files) - MOST_FILES),
            }
        )


class JobFileView(APIView):
    """One file."""

    @extend_schema(
        operation_id="jobs_file",
        parameters=[ATTEMPT],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, **ERRORS},
    )
    def get(self, request: Request, job_id: str, path: str) -> StreamingHttpResponse:
        """The bytes of a file."""
        if "\0" in path:
            raise NotFound("There is no such file.")
        job = job_for(actor_of(request), clean_id(job_id))
        return file_response(job, path, attempt=_attempt(request))


def _attempt(request: Request) -> int | None:
    return number_in(request.query_params.get("attempt", ""))


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput.of(offset="A byte offset of 0 or more is needed.")
    return int(text)
