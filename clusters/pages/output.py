"""What a run leaves: its log, its files, its telemetry."""

from __future__ import annotations

from django.http import Http404, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from clusters.access import job_for
from clusters.downloads import AsyncPieces, attachment, file_response
from clusters.models import Workload
from clusters.queries.attempts import number_in
from clusters.queries.logs import pieces_of_log, read_log, shown_attempt
from clusters.queries.scalars import as_json, scalars_of_run
from clusters.queries.telemetry import Series, telemetry_of
from portal.lib.errors import InvalidInput

LOG_PIECE = 256 * 1024
MAX_OFFSET_DIGITS = 15


@require_safe
@signed_in
def job_log(request: PortalRequest, job_id: str) -> HttpResponse:
    """Bytes of the log from `?offset=`; X-Next-Offset and X-Complete say how to go on.

    `?attempt=` chooses the attempt, which X-Attempt names.
    """
    piece = read_log(
        job_for(request.actor, job_id[:60]),
        offset=_offset(request.GET.get("offset", "0")),
        limit=LOG_PIECE,
        attempt=asked_attempt(request),
    )
    chunk = piece.chunk
    response = HttpResponse(chunk.data, content_type="text/plain; charset=utf-8")
    response["X-Next-Offset"] = str(chunk.next_offset)
    response["X-Attempt"] = str(piece.attempt)
    response["X-Complete"] = "true" if chunk.complete else "false"
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@signed_in
def job_log_download(request: PortalRequest, job_id: str) -> HttpResponseBase:
    """The whole log of one attempt as a file."""
    return log_response(job_for(request.actor, job_id[:60]), asked_attempt(request))


def log_response(found: Workload, attempt: int | None) -> HttpResponseBase:
    """The whole log of one attempt of a run, streamed."""
    suffix = f"-{attempt}" if attempt is not None else ""
    return attachment(
        AsyncPieces(pieces_of_log(found, attempt=attempt)),
        name=f"{found.public_id}{suffix}.log",
        content_type="text/plain; charset=utf-8",
    )


@require_safe
@signed_in
def job_file(request: PortalRequest, job_id: str, path: str) -> HttpResponseBase:
    """One output file, always as a download: what a job writes is never shown as a page."""
    found = job_for(request.actor, job_id[:60])
    return file_response(found, path, attempt=asked_attempt(request))


@require_safe
@signed_in
def job_telemetry(request: PortalRequest, job_id: str) -> JsonResponse:
    """The stored samples of one attempt, thinned out; times in milliseconds UTC."""
    return telemetry_response(job_for(request.actor, job_id[:60]), asked_attempt(request))


@require_safe
@signed_in
def job_scalars(request: PortalRequest, job_id: str) -> JsonResponse:
    """What one attempt has written for TensorBoard, thinned out; times in epoch seconds."""
    return scalars_response(job_for(request.actor, job_id[:60]), asked_attempt(request))


def scalars_response(found: Workload, number: int | None) -> JsonResponse:
    """The scalars of one attempt of a run. Raises NotFound, Unavailable."""
    response = JsonResponse(as_json(scalars_of_run(found, number)))
    response["Cache-Control"] = "no-store"
    return response


def telemetry_response(found: Workload, number: int | None) -> JsonResponse:
    """The stored samples of one attempt of a run. Raises Http404 where there is none."""
    attempt = shown_attempt(found, number)
    if attempt is None:
        raise Http404
    telemetry = telemetry_of(attempt)
    response = JsonResponse(
        {
            "attempt": attempt.number,
            "interval_seconds": telemetry.interval.total_seconds(),
            "gpus": [_series(series) for series in telemetry.series],
        }
    )
    response["Cache-Control"] = "no-store"
    return response


def _series(series: Series) -> dict[str, object]:
    gpu = series.gpu
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "model": gpu.model,
        "is_virtual": gpu.is_virtual,
        "memory_bytes": gpu.memory_bytes,
        "at": [round(at.timestamp() * 1000) for at, *_ in series.points],
        "utilization_percent": [point[1] for point in series.points],
        "memory_used_bytes": [point[2] for point in series.points],
    }


def asked_attempt(request: PortalRequest) -> int | None:
    """The attempt `?attempt=` names; None shows the latest that has begun. Raises InvalidInput."""
    return number_in(request.GET.get("attempt", ""))


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_OFFSET_DIGITS):
        raise InvalidInput.of(offset="A byte offset of 0 or more is needed.")
    return int(text)
