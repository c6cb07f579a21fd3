"""/api/v1/volumes/<id>/files and /archive: the files in a volume."""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from clusters.actions.files import delete_one, make_new_folder, move
from clusters.api.volume_serializers import (
    DeletionSerializer,
    FileActionSerializer,
    FolderSerializer,
    PlacedEntrySerializer,
    UnpackedSerializer,
)
from clusters.api.workloads import ERRORS, clean_id
from clusters.downloads import AsyncPieces, attachment, part_response
from clusters.files.tree import Entry, Sort
from clusters.files.upload import OnConflict
from clusters.incoming import archive_sink, file_sink, render_entry
from clusters.queries import files as queries
from portal.lib.errors import InvalidInput
from portal.lib.streamed import take_body

PAGE_SIZE = 500
BYTES = (200, "application/octet-stream")
BODY = {"application/octet-stream": OpenApiTypes.BINARY}
START = OpenApiParameter("start", int, description="For a folder: `next` of the page before.")
SORT = OpenApiParameter("sort", str, enum=[sort.value for sort in Sort])
STAT = OpenApiParameter("stat", bool, description="Answer what it is, not what is in it.")
CONFLICT = OpenApiParameter(
    "conflict",
    str,
    enum=[each.value for each in OnConflict],
    description="What to do where the name is taken; by default the file is replaced.",
)
NEW_CONFLICT = OpenApiParameter("conflict", str, enum=[OnConflict.FAIL, OnConflict.KEEP_BOTH])
PARENTS = OpenApiParameter("parents", bool, description="Make missing folders above it.")
ZIP = (200, "application/zip")


class VolumeFilesView(APIView):
    """The volume's own folder."""

    @extend_schema(
        operation_id="volume_files_list",
        parameters=[START, SORT],
        responses={200: FolderSerializer, **ERRORS},
    )
    def get(self, request: Request, volume_id: str) -> Response:
        """What lies in the volume, folders first."""
        return Response(_folder(request, clean_id(volume_id), ""))


class VolumeFileView(APIView):
    """One path in the volume."""

    streams_body = True

    @extend_schema(
        operation_id="volume_files_get",
        parameters=[START, SORT, STAT],
        responses={BYTES: OpenApiTypes.BINARY, (200, "application/json"): FolderSerializer}
        | ERRORS,
    )
    def get(self, request: Request, volume_id: str, path: str) -> HttpResponseBase:
        """The bytes of a file, or a `Range` of them; of a folder what lies in it, as JSON."""
        actor, key = actor_of(request), clean_id(volume_id)
        found = queries.stat(actor, key, path)
        if request.query_params.get("stat") == "true":
            return Response(_placed(path, found))
        if queries.is_folder(found):
            return Response(_folder(request, key, path))
        return part_response(request, queries.open_file(actor, key, path))

    @extend_schema(
        operation_id="volume_files_put",
        request=BODY,
        parameters=[CONFLICT, PARENTS],
        responses={201: PlacedEntrySerializer, **ERRORS},
    )
    def put(self, request: Request, volume_id: str, path: str) -> HttpResponseBase:
        """Upload a file. It is there under its name when all of it is, and not before."""
        actor = actor_of(request)
        sink = file_sink(request._request, actor, clean_id(volume_id), path)
        return take_body(request._request, sink)

    @extend_schema(
        operation_id="volume_files_post",
        request=FileActionSerializer,
        responses={200: PlacedEntrySerializer, 201: PlacedEntrySerializer, **ERRORS},
    )
    def post(self, request: Request, volume_id: str, path: str) -> Response:
        """Make a folder, or move what is there."""
        actor, key = actor_of(request), clean_id(volume_id)
        body = FileActionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        if asked["action"] == "mkdir":
            made = make_new_folder(actor, key, path, parents=asked["parents"])
            return Response(_placed(path, made), status=status.HTTP_201_CREATED)
        return Response(_placed(asked["to"], move(actor, key, path, to=asked["to"])))

    @extend_schema(
        operation_id="volume_files_delete", responses={200: DeletionSerializer, **ERRORS}
    )
    def delete(self, request: Request, volume_id: str, path: str) -> Response:
        """Delete a file, or a folder with all that is in it: ask again until `complete`."""
        done = delete_one(actor_of(request), clean_id(volume_id), path)
        return Response({"removed": done.removed, "complete": done.is_whole})


class VolumeArchiveView(APIView):
    """The whole volume as a zip file."""

    @extend_schema(
        operation_id="volume_archive_all", responses={ZIP: OpenApiTypes.BINARY, **ERRORS}
    )
    def get(self, request: Request, volume_id: str) -> HttpResponseBase:
        """All files; links are left out."""
        return _zip(request, volume_id, "")


class VolumeArchiveFolderView(APIView):
    """A folder as a zip file, both ways."""

    streams_body = True

    @extend_schema(
        operation_id="volume_archive_get", responses={ZIP: OpenApiTypes.BINARY, **ERRORS}
    )
    def get(self, request: Request, volume_id: str, path: str) -> HttpResponseBase:
        """All files of a folder; links are left out."""
        return _zip(request, volume_id, path)

    @extend_schema(
        operation_id="volume_archive_put",
        request={"application/zip": OpenApiTypes.BINARY},
        parameters=[NEW_CONFLICT],
        responses={201: UnpackedSerializer, **ERRORS},
    )
    def put(self, request: Request, volume_id: str, path: str) -> HttpResponseBase:
        """Upload a zip file that is unpacked into the new folder `path`, all of it or nothing."""
        actor = actor_of(request)
        sink = archive_sink(request._request, actor, clean_id(volume_id), path)
        return take_body(request._request, sink)


def _zip(request: Request, volume_id: str, path: str) -> HttpResponseBase:
    name, pieces = queries.zip_of(actor_of(request), clean_id(volume_id), path)
    return attachment(
        AsyncPieces(pieces, release=pieces.close), name=name, content_type="application/zip"
    )


def _folder(request: Request, volume_id: str, path: str) -> dict[str, Any]:
    start = _start(request.query_params.get("start", "0"))
    sort = request.query_params.get("sort", Sort.NAME)
    if sort not in list(Sort):
        raise InvalidInput.of(sort=f"One of: {', '.join(Sort)}.")
    found = queries.list_folder(
        actor_of(request), volume_id, path, start=start, limit=PAGE_SIZE, sort=Sort(sort)
    )
    after = start + PAGE_SIZE
    return {
        "path": path,
        "entries": [render_entry(entry) for entry in found.entries],
        "total": found.total,
        "is_cut": found.is_cut,
        "next": after if after < found.total else None,
    }


def _placed(path: str, entry: Entry) -> dict[str, Any]:
    return {"path": path, **render_entry(entry)}


def _start(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidInput.of(start="A number of 0 or more is needed.")
    return int(text)
