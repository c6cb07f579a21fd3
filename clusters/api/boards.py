"""/api/v1/jobs/<id>/tensorboard, the same of notebooks, and /api/v1/tensorboards."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from accounts.api.idempotency import once
from clusters.access import job_for, notebook_for, side_for
from clusters.actions.sides import board_of_run, close_board
from clusters.addresses import side_address
from clusters.api.workloads import ERRORS, IDEMPOTENCY, clean_id
from clusters.models import Side, Workload
from clusters.queries.sides import is_ready


class BoardSerializer(serializers.Serializer[Side]):
    """A TensorBoard. It costs nothing, and ends when nobody has looked at it for half an hour.

    `url` opens it in the browser of a member of the team. It is of use once `is_ready`.
    """

    id = serializers.CharField(source="public_id")
    run = serializers.CharField(
        source="workload.public_id", allow_null=True, default=None, help_text="A job or notebook."
    )
    volume = serializers.CharField(source="volume.public_id", allow_null=True, default=None)
    folder = serializers.CharField(help_text="Of the volume; empty: all of it.")
    is_ready = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    detail = serializers.CharField(help_text="Why it ended.")

    def get_is_ready(self, side: Side) -> bool:
        """Whether it answers."""
        return is_ready(side)

    def get_url(self, side: Side) -> str:
        """Where it opens."""
        return side_address(side)


def _open(request: Request, run: Workload) -> Response:
    actor = actor_of(request)

    def work() -> Response:
        side = board_of_run(actor, run.public_id)
        return Response(BoardSerializer(side).data, status=status.HTTP_201_CREATED)

    return once(request, actor, work)


class JobBoardView(APIView):
    """Of a job."""

    @extend_schema(
        operation_id="jobs_tensorboard",
        parameters=[IDEMPOTENCY],
        request=None,
        responses={201: BoardSerializer, **ERRORS},
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Start it over what the latest attempt has written, or find the one that is open."""
        return _open(request, job_for(actor_of(request), clean_id(job_id)))


class NotebookBoardView(APIView):
    """Of a notebook."""

    @extend_schema(
        operation_id="notebooks_tensorboard",
        parameters=[IDEMPOTENCY],
        request=None,
        responses={201: BoardSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """Start it over what the latest attempt has written, or find the one that is open."""
        return _open(request, notebook_for(actor_of(request), clean_id(notebook_id)))


class BoardView(APIView):
    """One that was opened."""

    @extend_schema(operation_id="tensorboards_read", responses={200: BoardSerializer, **ERRORS})
    def get(self, request: Request, side_id: str) -> Response:
        """How far it is."""
        return Response(BoardSerializer(side_for(actor_of(request), clean_id(side_id))).data)

    @extend_schema(operation_id="tensorboards_close", responses={204: None, **ERRORS})
    def delete(self, request: Request, side_id: str) -> Response:
        """End it. What it showed stays."""
        side = side_for(actor_of(request), clean_id(side_id))
        if side.ended_at is None:
            close_board(actor_of(request), side.public_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
