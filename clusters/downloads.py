"""Downloads of what a run left, streamed: files never lie in memory whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import BinaryIO

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from clusters.backends.base import BackendUnavailable
from clusters.backends.registry import backend
from clusters.models import Workload
from clusters.queries.logs import shown_attempt
from portal.lib.errors import NotFound, Unavailable

FILE_PIECE = 256 * 1024


class AsyncPieces(AsyncIterator[bytes]):
    """A blocking iterator read in a thread, a piece at a time."""

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


def attachment(pieces: AsyncPieces, *, name: str, content_type: str) -> StreamingHttpResponse:
    """A response browsers save: what a job writes is never shown as a page."""
    response = StreamingHttpResponse(pieces, content_type=content_type)
    disposition = content_disposition_header(as_attachment=True, filename=name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
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
