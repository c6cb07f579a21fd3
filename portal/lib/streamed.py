"""Request bodies that are too large to be kept: taken piece by piece, by a sink.

A view that takes one is marked with `streams_body` and answers with `take_body(request, sink)`.
Under ASGI the body follows after the view, outside any request thread (`portal.transfers`);
elsewhere it is read from the request at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from portal.lib.errors import PortalError
from portal.lib.rest import error_body

logger = logging.getLogger(__name__)
PIECE_BYTES = 1024 * 1024
View = TypeVar("View", bound=Callable[..., Any])


class Sink(Protocol):
    """Where a body goes. Each method blocks, and runs in whichever thread is free."""

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises PortalError to refuse it and the rest."""

    def finish(self) -> dict[str, Any]:
        """The body is whole; what is answered as JSON. Raises PortalError."""

    def abandon(self) -> None:
        """Leave nothing of it; also called after a refusal, never after an answer."""


class BodyWanted(HttpResponse):
    """What a view answers when the body may come: its headers go on to the answer itself."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        del self["Content-Type"]
        self.sink = sink


def streams_body(view: View) -> View:
    """Mark a view as one whose PUT bodies are streamed."""
    view.streams_body = True  # type: ignore[attr-defined]
    return view


def take_body(request: HttpRequest, sink: Sink) -> HttpResponseBase:
    """Let `sink` take the body of `request`, now or as it comes."""
    if getattr(request, "body_follows", False):
        return BodyWanted(sink)
    answer = settle(sink, lambda: _read(request, sink))
    return answer or settled(sink)


def settled(sink: Sink) -> HttpResponse:
    """The answer to a whole body."""
    found: list[dict[str, Any]] = []
    refusal = settle(sink, lambda: found.append(sink.finish()))
    return refusal or JsonResponse(found[0], status=201)


def settle(sink: Sink, step: Callable[[], None]) -> HttpResponse | None:
    """Do `step`; the refusal it ended in, after which nothing is left of the body."""
    try:
        step()
    except PortalError as error:
        sink.abandon()
        return refused(error.http_status, error.code, error.message, error.fields)
    except Exception:
        sink.abandon()
        logger.exception("a body could not be taken")
        return refused(500, "server_error", "Something broke on our side. We were told.")
    return None


def refused(
    status: int, code: str, message: str, fields: dict[str, str] | None = None
) -> JsonResponse:
    """An error in the one shape."""
    return JsonResponse(error_body(code, message, fields), status=status)


def _read(request: HttpRequest, sink: Sink) -> None:
    while data := request.read(PIECE_BYTES):
        sink.write(data)
