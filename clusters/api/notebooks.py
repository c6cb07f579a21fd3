"""/api/v1/notebooks"""

from __future__ import annotations

from collections.abc import Callable

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actor import Actor
from accounts.api.base import actor_of
from accounts.api.idempotency import once
from clusters.access import notebook_for, notebooks_of
from clusters.actions.notebook_checks import NotebookRequest
from clusters.actions.notebooks import (
    keep_notebook,
    launch_notebook,
    remove_notebook,
    set_stops,
    start_notebook,
    stop_notebook,
)
from clusters.api.notebook_serializers import (
    NotebookChangeSerializer,
    NotebookDetailSerializer,
    NotebookListSerializer,
    NotebookRequestSerializer,
    NotebookSerializer,
)
from clusters.api.workload_serializers import EventListSerializer, EventSerializer
from clusters.api.workloads import (
    ERRORS,
    IDEMPOTENCY,
    clean_id,
    page,
    pages_of,
    render_new,
    render_one,
)
from clusters.choices import NOTEBOOK_TRANSITIONS
from clusters.models import Workload
from clusters.queries.events import events_after
from portal.lib import clock
from portal.lib.errors import InvalidInput

Verb = Callable[[Actor, str], Workload]


def _shown(notebook: Workload) -> Response:
    """As it stands now."""
    return Response(render_one(notebook, NotebookDetailSerializer, "notebook", "created_by"))


class NotebooksView(APIView):
    """List and launch."""

    @extend_schema(
        operation_id="notebooks_list",
        parameters=pages_of(NOTEBOOK_TRANSITIONS.states()),
        responses={200: NotebookListSerializer, **ERRORS},
    )
    def get(self, request: Request) -> Response:
        """The team's notebooks, newest first."""
        found, next_page = page(request, notebooks_of(actor_of(request)), NotebookSerializer)
        return Response({"notebooks": found, "next": next_page})

    @extend_schema(
        operation_id="notebooks_create",
        request=NotebookRequestSerializer,
        parameters=[IDEMPOTENCY],
        responses={201: NotebookDetailSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Launch a notebook."""
        actor = actor_of(request)
        body = NotebookRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            notebook, attempt = launch_notebook(actor, NotebookRequest(**body.validated_data))
            made = render_new(notebook, attempt, NotebookDetailSerializer)
            return Response(made, status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class NotebookView(APIView):
    """One notebook."""

    @extend_schema(
        operation_id="notebooks_get", responses={200: NotebookDetailSerializer, **ERRORS}
    )
    def get(self, request: Request, notebook_id: str) -> Response:
        """The notebook as it stands."""
        return _shown(notebook_for(actor_of(request), clean_id(notebook_id)))

    @extend_schema(
        operation_id="notebooks_change",
        request=NotebookChangeSerializer,
        responses={200: NotebookDetailSerializer, **ERRORS},
    )
    def patch(self, request: Request, notebook_id: str) -> Response:
        """Change when it stops by itself; it holds at once."""
        actor = actor_of(request)
        own = notebook_for(actor, clean_id(notebook_id)).notebook
        body = NotebookChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        # A time that has passed did what it was for.
        is_to_come = own.stop_at is not None and own.stop_at > clock.now()
        wanted = {
            "idle_minutes": own.idle_minutes,
            "stop_at": own.stop_at if is_to_come else None,
            **body.validated_data,
        }
        return _shown(set_stops(actor, clean_id(notebook_id), **wanted))

    @extend_schema(operation_id="notebooks_remove", request=None, responses={204: None, **ERRORS})
    def delete(self, request: Request, notebook_id: str) -> Response:
        """List it no more. It must have been stopped; its bill and its volume stay."""
        remove_notebook(actor_of(request), clean_id(notebook_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class _VerbView(APIView):
    """One thing that is done to a notebook and asks for nothing more."""

    def _do(self, request: Request, notebook_id: str, verb: Verb) -> Response:
        actor = actor_of(request)
        return once(request, actor, lambda: _shown(verb(actor, clean_id(notebook_id))))


class NotebookStartView(_VerbView):
    """Start again."""

    @extend_schema(
        operation_id="notebooks_start",
        request=None,
        parameters=[IDEMPOTENCY],
        responses={200: NotebookDetailSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """Queue a notebook that rests once more; one that runs is left so."""
        return self._do(request, notebook_id, start_notebook)


class NotebookStopView(_VerbView):
    """Stop."""

    @extend_schema(
        operation_id="notebooks_stop",
        request=None,
        parameters=[IDEMPOTENCY],
        responses={200: NotebookDetailSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """Ask it to stop: SIGTERM, the pool's grace, SIGKILL. It can be started again."""
        return self._do(request, notebook_id, stop_notebook)


class NotebookKeepView(_VerbView):
    """Keep."""

    @extend_schema(
        operation_id="notebooks_keep",
        request=None,
        parameters=[IDEMPOTENCY],
        responses={200: NotebookDetailSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """Let idleness not count for an hour; a countdown for it goes away."""
        return self._do(request, notebook_id, keep_notebook)


class NotebookEventsView(APIView):
    """The timeline."""

    @extend_schema(
        operation_id="notebooks_events",
        parameters=[
            OpenApiParameter("after", int, description="Id of the last step known; 0: none.")
        ],
        responses={200: EventListSerializer, **ERRORS},
    )
    def get(self, request: Request, notebook_id: str) -> Response:
        """The steps that followed, oldest first. The page's socket counts by the same numbers."""
        notebook = notebook_for(actor_of(request), clean_id(notebook_id))
        after = _number(request.query_params.get("after", "0"))
        events = events_after(notebook, after)
        many = EventSerializer(events, many=True)  # type: ignore[arg-type]  # stubs know one only
        return Response({"events": many.data, "next": events[-1].pk if events else after})


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput.of(after="The number of a step is needed, 0 or more.")
    return int(text)
