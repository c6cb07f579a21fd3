"""Downloads of what runs left and volumes hold, streamed: files never lie in memory whole."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO

from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from clusters.backends.base import BackendUnavailable
from clusters.backends.registry import backend
from clusters.models import Workload
from clusters.queries.files import OpenFile
from clusters.queries.logs import shown_attempt
from portal.lib.errors import NotFound, Unavailable
from portal.lib.ranges import Part, last_modified, part_of
from portal.lib.streamed import refused

FILE_PIECE = 256 * 1024
# Should a browser ever show what it is told to save: without scripts, and of no origin.
POLICY = "default-src 'none'; sandbox"


class AsyncPieces(AsyncIterator[bytes]):
    """A blocking iterator read in a thread, a piece at a time."""

    def __init__(
        self, pieces: Iterator[bytes], *, release: Callable[[], None] = lambda: None
    ) -> None:
        self._pieces = pieces
        self._release = release
        self._one_at_a_time = threading.Lock()
        self._is_closed = False

    async def __anext__(self) -> bytes:
        """The next piece."""
        piece = await asyncio.to_thread(self._next)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def _next(self) -> bytes | None:
        with self._one_at_a_time:
            try:
                return None if self._is_closed else next(self._pieces, None)
            finally:
                close_old_connections()

    def close(self) -> None:
        """Let go of what is read, once the piece being read is; Django calls it at the end."""
        with self._one_at_a_time:
            self._is_closed = True
            self._release()


def attachment(pieces: AsyncPieces, *, name: str, content_type: str) -> StreamingHttpResponse:
    """A response browsers save: what a job writes is never shown as a page."""
    response = StreamingHttpResponse(pieces, content_type=content_type)
    _guard(response, name)
    return response


def _guard(response: HttpResponseBase, name: str) -> None:
    # A job may call a file anything, with line breaks too.
    printable = "".join(character if character.isprintable() else "_" for character in name)
    disposition = content_disposition_header(as_attachment=True, filename=printable)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "no-store"


def part_response(request: HttpRequest, opened: OpenFile) -> HttpResponseBase:
    """The part of a file that the request wants; of HEAD only what is said about it."""
    size, at = opened.entry.size_bytes or 0, opened.entry.modified_at
    part = part_of(request.headers, size=size, etag=opened.etag, modified_at=at)
    response = _body(request, opened, part)
    _guard(response, opened.entry.name)
    response["ETag"] = opened.etag
    response["Last-Modified"] = last_modified(at)
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    if part.content_range:
        response["Content-Range"] = part.content_range
    return response


def _body(request: HttpRequest, opened: OpenFile, part: Part) -> HttpResponseBase:
    kind = "application/octet-stream"
    if part.status == 416:
        opened.stream.close()
        return refused(416, "range", f"The file has {part.size:,} bytes.")
    if request.method == "HEAD" or not part.length:
        opened.stream.close()
        empty = HttpResponse(status=part.status, content_type=kind)
        if part.status != 304:
            empty["Content-Length"] = str(part.length)
        return empty
    opened.stream.seek(part.start)
    pieces = AsyncPieces(_pieces_of_file(opened.stream, part.length), release=opened.stream.close)
    response = StreamingHttpResponse(pieces, content_type=kind, status=part.status)
    response["Content-Length"] = str(part.length)
    return response


def file_response(job: Workload, path: str, *, attempt: int | None) -> StreamingHttpResponse:
    """One output file of an attempt. Raises NotFound, Unavailable."""
    shown = shown_attempt(job, attempt)
    if shown is None:
        raise NotFound("There is no such file.")
    try:
        stream = backend(job.pool.backend).open_file(shown.external_name, path)
    except FileNotFoundError as error:
        raise NotFound("There is no such file.") from error
    except BackendUnavailable as error:
        raise Unavailable("The file cannot be read just now. Try again shortly.") from error
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    response = attachment(
        AsyncPieces(_pieces_of_file(stream, size), release=stream.close),
        name=path.rsplit("/", 1)[-1],
        content_type="application/octet-stream",
    )
    response["Content-Length"] = str(size)
    return response


def _pieces_of_file(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """At most `size` bytes: a file that still grows ends where it ended when it was opened."""
    while size > 0 and (data := stream.read(min(size, FILE_PIECE))):
        size -= len(data)
        yield data
