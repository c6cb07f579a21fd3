"""What a job leaves: its log, its files, its telemetry."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO

from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from accounts.pages.base import PortalRequest, signed_in
from clusters.access import job_for
from clusters.backends.base import BackendUnavailable
from clusters.backends.registry import backend
from clusters.queries.logs import latest_attempt, pieces_of_log, read_log
from clusters.queries.telemetry import Series, telemetry_of
from portal.lib.errors import InvalidInput, NotFound, Unavailable

LOG_PIECE = 256 * 1024
FILE_PIECE = 256 * 1024
MAX_OFFSET_DIGITS = 15


@require_safe
@signed_in
def job_log(request: PortalRequest, job_id: str) -> HttpResponse:
    """Bytes of the log from `?offset=`; X-Next-Offset and X-Complete say how to go on."""
    chunk = read_log(
        job_for(request.actor, job_id[:60]),
        offset=_offset(request.GET.get("offset", "0")),
        limit=LOG_PIECE,
    )
    response = HttpResponse(chunk.data, content_type="text/plain; charset=utf-8")
    response["X-Next-Offset"] = str(chunk.next_offset)
    response["X-Complete"] = "true" if chunk.complete else "false"
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@signed_in
def job_log_download(request: PortalRequest, job_id: str) -> HttpResponseBase:
    """The whole log as a file."""
    found = job_for(request.actor, job_id[:60])
    return _attachment(
        AsyncPieces(pieces_of_log(found)),
        name=f"{found.public_id}.log",
        content_type="text/plain; charset=utf-8",
    )


@require_safe
@signed_in
def job_file(request: PortalRequest, job_id: str, path: str) -> HttpResponseBase:
    """One output file, always as a download: what a job writes is never shown as a page."""
    found = job_for(request.actor, job_id[:60])
    attempt = latest_attempt(found)
    if attempt is None:
        raise NotFound("There is no such file.")
    try:
        stream = backend(found.pool.backend).open_file(attempt.external_name, path)
    except FileNotFoundError as error:
        raise NotFound("There is no such file.") from error
    except BackendUnavailable as error:
        raise Unavailable("The file cannot be read just now. Try again shortly.") from error
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    response = _attachment(
        AsyncPieces(_pieces_of_file(stream, size), release=stream.close),
        name=path.rsplit("/", 1)[-1],
        content_type="application/octet-stream",
    )
    response["Content-Length"] = str(size)
    return response


@require_safe
@signed_in
def job_telemetry(request: PortalRequest, job_id: str) -> JsonResponse:
    """The stored samples of the latest attempt, thinned out; times in milliseconds UTC."""
    found = job_for(request.actor, job_id[:60])
    attempt = latest_attempt(found)
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


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_OFFSET_DIGITS):
        raise InvalidInput.of(offset="A byte offset of 0 or more is needed.")
    return int(text)


def _attachment(pieces: AsyncPieces, *, name: str, content_type: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type=content_type)
    disposition = content_disposition_header(as_attachment=True, filename=name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response


def _pieces_of_file(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """At most `size` bytes: a file that still grows ends where it ended when it was opened."""
    while size > 0 and (data := stream.read(min(size, FILE_PIECE))):
        size -= len(data)
        yield data


class AsyncPieces(AsyncIterator[bytes]):
    """A blocking iterator read in a thread, a piece at a time: files never lie in memory whole."""

    def __init__(
        self, pieces: Iterator[bytes], *, release: Callable[[], None] = lambda: None
    ) -> None:
        self._pieces = pieces
        self._release = release

    async def __anext__(self) -> bytes:
        """The next piece."""
        piece = await asyncio.to_thread(next, self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Let go of what is read; Django calls it at the end of the response."""
        self._release()
