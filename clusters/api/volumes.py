"""/api/v1/volumes"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actor import Actor
from accounts.api.base import actor_of
from accounts.api.idempotency import once
from clusters.access import volume_for, volumes_of
from clusters.actions.volumes import (
    create_volume,
    remove_volume,
    rename_volume,
    resize_volume,
)
from clusters.api.volume_serializers import (
    VolumeChangeSerializer,
    VolumeListSerializer,
    VolumeRequestSerializer,
    VolumeSerializer,
)
from clusters.api.workloads import ERRORS, clean_id
from clusters.models import Volume
from clusters.queries.volumes import rows_of
from portal.lib.errors import InvalidInput

KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)


def render(actor: Actor, volumes: list[Volume]) -> list[dict[str, Any]]:
    """Volumes as the API shows them, in a fixed number of queries."""
    rows: Any = rows_of(actor, volumes)  # the stubs know a single instance only
    return list(VolumeSerializer(rows, many=True).data)


class VolumesView(APIView):
    """List and create."""

    @extend_schema(operation_id="volumes_list", responses={200: VolumeListSerializer, **ERRORS})
    def get(self, request: Request) -> Response:
        """The team's volumes by name; a team has at most 100."""
        actor = actor_of(request)
        return Response({"volumes": render(actor, list(volumes_of(actor)))})

    @extend_schema(
        operation_id="volumes_create",
        request=VolumeRequestSerializer,
        parameters=[KEY],
        responses={201: VolumeSerializer, **ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Make a volume. Its size is billed from now until it is removed."""
        actor = actor_of(request)
        body = VolumeRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)

        def deed() -> Response:
            made = create_volume(actor, **body.validated_data)
            return Response(render(actor, [made])[0], status=status.HTTP_201_CREATED)

        return once(request, actor, deed)


class VolumeView(APIView):
    """One volume."""

    @extend_schema(operation_id="volumes_get", responses={200: VolumeSerializer, **ERRORS})
    def get(self, request: Request, volume_id: str) -> Response:
        """The volume as it stands."""
        actor = actor_of(request)
        return Response(render(actor, [volume_for(actor, clean_id(volume_id))])[0])

    @extend_schema(
        operation_id="volumes_change",
        request=VolumeChangeSerializer,
        parameters=[KEY],
        responses={200: VolumeSerializer, **ERRORS},
    )
    def patch(self, request: Request, volume_id: str) -> Response:
        """Rename or resize it: owners, and who made it. Its size can sink to what is used."""
        actor, key = actor_of(request), clean_id(volume_id)
        volume_for(actor, key)
        body = VolumeChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        if not asked:
            raise InvalidInput("Say what to change: name, size_gib or both.")

        def deed() -> Response:
            volume = volume_for(actor, key)
            if "name" in asked:
                volume = rename_volume(actor, key, name=asked["name"])
            if "size_gib" in asked:
                volume = resize_volume(actor, key, size_gib=asked["size_gib"])
            return Response(render(actor, [volume])[0])

        return once(request, actor, deed)

    @extend_schema(operation_id="volumes_remove", responses={204: None, **ERRORS})
    def delete(self, request: Request, volume_id: str) -> Response:
        """Remove it with all its files: owners, and who made it. 409 while it is mounted."""
        remove_volume(actor_of(request), clean_id(volume_id))
        return Response(status=status.HTTP_204_NO_CONTENT)
