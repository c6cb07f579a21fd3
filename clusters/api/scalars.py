"""/api/v1/jobs/<id>/scalars and the same of notebooks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from clusters.access import job_for, notebook_for
from clusters.api.outputs import ATTEMPT
from clusters.api.workloads import ERRORS, clean_id
from clusters.models import Workload
from clusters.queries.attempts import number_in
from clusters.queries.scalars import as_json, scalars_of_run


class SeriesSerializer(serializers.Serializer[Any]):
    """What the event files of one folder say of a tag. The three lists have one length."""

    run = serializers.CharField(
        help_text="The folder below the home folder; `.` is that itself. Of a volume, with "
        "`/workspace` before it."
    )
    steps = serializers.ListField(child=serializers.IntegerField())
    times = serializers.ListField(child=serializers.FloatField(), help_text="Epoch seconds.")
    values = serializers.ListField(child=serializers.FloatField())


class TagSerializer(serializers.Serializer[Any]):
    """One name, such as `loss/train`, with what each folder says of it."""

    tag = serializers.CharField()
    series = SeriesSerializer(many=True)


class ScalarsSerializer(serializers.Serializer[Any]):
    """The scalars an attempt has written for TensorBoard so far, long series thinned out."""

    attempt = serializers.IntegerField(help_text="0 where none has begun.")
    is_whole = serializers.BooleanField(help_text="false: more has been written; ask again.")
    hidden_series = serializers.IntegerField(help_text="Series there was no room for.")
    tags = TagSerializer(many=True)


def _answer(request: Request, run: Workload) -> Response:
    number = number_in(request.query_params.get("attempt", ""))
    return Response(as_json(scalars_of_run(run, number)))


class JobScalarsView(APIView):
    """Of a job."""

    @extend_schema(
        operation_id="jobs_scalars",
        parameters=[ATTEMPT],
        responses={200: ScalarsSerializer, **ERRORS},
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read from the event files in the home of an attempt and in its volume, as they grow."""
        return _answer(request, job_for(actor_of(request), clean_id(job_id)))


class NotebookScalarsView(APIView):
    """Of a notebook."""

    @extend_schema(
        operation_id="notebooks_scalars",
        parameters=[ATTEMPT],
        responses={200: ScalarsSerializer, **ERRORS},
    )
    def get(self, request: Request, notebook_id: str) -> Response:
        """Read from the event files in the home of an attempt and in its volume, as they grow."""
        return _answer(request, notebook_for(actor_of(request), clean_id(notebook_id)))
