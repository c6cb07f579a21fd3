"""The file manager of a volume: folders as HTML, deeds as JSON, files as downloads.

What the page's script sends and reads; programs use the API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.pages.base import PortalRequest, signed_in
from clusters.actions import files as actions
from clusters.actions.notebook_runs import SUFFIX
from clusters.actions.uploads import unpack_file
from clusters.downloads import AsyncPieces, attachment, part_response
from clusters.files.tree import Entry, Kind, Sort
from clusters.incoming import file_sink, render_entry
from clusters.models import Volume
from clusters.queries import files as queries
from portal.lib.errors import InvalidInput, NotFound, PortalError
from portal.lib.rest import error_body
from portal.lib.streamed import refused, streams_body, take_body

PAGE_SIZE = 200
ICONS = {Kind.FOLDER: "folder", Kind.FILE: "file", Kind.LINK: "link", Kind.OTHER: "terminal"}


def is_part(request: PortalRequest) -> bool:
    """Whether htmx asks for the folder alone; coming back through the history it wants all."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def folder_context(request: PortalRequest, volume: Volume) -> dict[str, Any]:
    """The folder that `?path=` names, as it is shown; `problem` where it cannot be."""
    path = request.GET.get("path", "")
    sort = request.GET.get("sort", "")
    sort = sort if sort in list(Sort) else Sort.NAME
    is_descending = request.GET.get("dir") == "desc"
    page = _page_number(request.GET.get("page", "1"))
    base = reverse("volume", args=[volume.public_id])
    asked = {"path": path, "sort": sort, "dir": "desc" if is_descending else ""}
    context: dict[str, Any] = {
        "volume": volume,
        "path": path,
        "top_url": base,
        "board_url": reverse("volume_board", args=[volume.public_id]),
        "crumbs": _crumbs(base, path),
        "columns": _columns(base, path, sort, is_descending=is_descending),
        "here": _link(base, **asked, page=page),
    }
    try:
        found = queries.list_folder(
            request.actor,
            volume.public_id,
            path,
            start=(page - 1) * PAGE_SIZE,
            limit=PAGE_SIZE,
            sort=Sort(sort),
            descending=is_descending,
        )
    except PortalError as error:
        return context | {"problem": error.message, "is_gone": isinstance(error, NotFound)}
    last = max(1, -(-found.total // PAGE_SIZE))
    return context | {
        "entries": [_row(volume, base, path, entry) for entry in found.entries],
        "total": found.total,
        "is_cut": found.is_cut,
        "page": page,
        "pages": last,
        "before_url": _link(base, **asked, page=page - 1) if page > 1 else "",
        "after_url": _link(base, **asked, page=page + 1) if page < last else "",
    }


@streams_body
@require_http_methods(["GET", "HEAD", "PUT"])
def volume_file(request: HttpRequest, volume_id: str, path: str) -> HttpResponseBase:
    """One file: always as a download; PUT uploads it."""
    if request.method == "PUT" and not request.user.is_authenticated:
        # A script would take what it sends to wherever it is led.
        return refused(401, "not_signed_in", "You are signed out. Reload the page and sign in.")
    return _volume_file(request, volume_id[:60], path)


@signed_in
def _volume_file(request: PortalRequest, volume_id: str, path: str) -> HttpResponseBase:
    if request.method == "PUT":
        return take_body(request, file_sink(request, request.actor, volume_id, path))
    return part_response(request, queries.open_file(request.actor, volume_id, path))


@require_POST
@signed_in
def volume_folder(request: PortalRequest, volume_id: str) -> JsonResponse:
    """`{"path"}`: a new folder; one that is there already is no error with `may_exist`."""
    asked = _asked(request)
    made = actions.make_new_folder(
        request.actor,
        volume_id[:60],
        _text(asked, "path"),
        parents=bool(asked.get("may_exist")),
        may_exist=bool(asked.get("may_exist")),
    )
    return JsonResponse(render_entry(made), status=201)


@require_POST
@signed_in
def volume_move(request: PortalRequest, volume_id: str) -> JsonResponse:
    """`{"path", "to"}`."""
    asked = _asked(request)
    moved = actions.move(request.actor, volume_id[:60], _text(asked, "path"), to=_text(asked, "to"))
    return JsonResponse(render_entry(moved))


@require_POST
@signed_in
def volume_delete(request: PortalRequest, volume_id: str) -> JsonResponse:
    """`{"folder", "names"}`: as many as one request may; sent again until it is `complete`."""
    asked = _asked(request)
    done = actions.delete(
        request.actor, volume_id[:60], _text(asked, "folder"), _texts(asked, "names")
    )
    return JsonResponse({"removed": done.removed, "complete": done.is_whole})


@require_POST
@signed_in
def volume_known(request: PortalRequest, volume_id: str) -> JsonResponse:
    """`{"folder", "paths"}`: which of these are there already."""
    asked = _asked(request)
    found = queries.known(
        request.actor, volume_id[:60], _text(asked, "folder"), _texts(asked, "paths")
    )
    return JsonResponse({"known": {path: render_entry(entry) for path, entry in found.items()}})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def volume_zip(request: PortalRequest, volume_id: str) -> HttpResponseBase:
    """A folder as a zip file; a form that is posted names what of it in `name`."""
    names = request.POST.getlist("name") if request.method == "POST" else None
    path = request.POST.get("path", "") if names is not None else request.GET.get("path", "")
    name, pieces = queries.zip_of(request.actor, volume_id[:60], path, names)
    if request.method == "HEAD":
        pieces.close()
        return HttpResponse(content_type="application/zip")
    return attachment(
        AsyncPieces(pieces, release=pieces.close), name=name, content_type="application/zip"
    )


@require_POST
@signed_in
def volume_unpack(request: PortalRequest, volume_id: str) -> StreamingHttpResponse:
    """`{"path"}` of an archive: unpacks it beside itself, a line of JSON for each step."""
    steps = unpack_file(request.actor, volume_id[:60], _text(_asked(request), "path"))
    lines = _lines(steps)
    response = StreamingHttpResponse(
        AsyncPieces(lines, release=lines.close), content_type="application/x-ndjson"
    )
    response["Cache-Control"] = "no-store"
    return response


def _lines(steps: Iterator[dict[str, int | str]]) -> Any:
    """What goes wrong in the middle is a line too: the answer has begun."""
    try:
        for step in steps:
            yield json.dumps(step).encode() + b"\n"
    except PortalError as error:
        yield json.dumps(error_body(error.code, error.message, error.fields)).encode() + b"\n"


def _row(volume: Volume, base: str, path: str, entry: Entry) -> dict[str, Any]:
    whole = f"{path}/{entry.name}" if path else entry.name
    is_folder, is_file = entry.kind == Kind.FOLDER, entry.kind == Kind.FILE
    may_be_named = not any(character in entry.name for character in "\n\r")
    url = _link(base, path=whole) if is_folder else ""
    if is_file and may_be_named:
        url = reverse("volume_file", args=[volume.public_id, whole])
    schedule_url = ""
    if is_file and entry.name.endswith(SUFFIX):
        schedule_url = _link(reverse("schedule_new"), volume=volume.public_id, path=whole)
    return {
        "entry": entry,
        "whole": whole,
        "schedule_url": schedule_url,
        "icon": ICONS[entry.kind],
        "is_folder": is_folder,
        "is_file": is_file,
        "is_archive": is_file and entry.name.lower().endswith(".zip"),
        "url": url,
        "zip_url": _link(reverse("volume_zip", args=[volume.public_id]), path=whole),
    }


def _crumbs(base: str, path: str) -> list[dict[str, str]]:
    parts = [part for part in path.split("/") if part]
    return [
        {"name": part, "url": _link(base, path="/".join(parts[: number + 1]))}
        for number, part in enumerate(parts)
    ]


def _columns(base: str, path: str, sort: str, *, is_descending: bool) -> list[dict[str, str]]:
    columns = []
    for name, label in ((Sort.NAME, "Name"), (Sort.SIZE, "Size"), (Sort.MODIFIED, "Modified")):
        # A first click shows what is large or new first.
        turned = not is_descending if name == sort else name != Sort.NAME
        order = ("descending" if is_descending else "ascending") if name == sort else "none"
        url = _link(base, path=path, sort=name, dir="desc" if turned else "")
        columns.append({"name": name, "label": label, "order": order, "url": url})
    return columns


def _link(base: str, **asked: Any) -> str:
    """`base` with what is asked, without what goes without saying."""
    usual = {"page": 1, "sort": Sort.NAME}
    kept = {key: value for key, value in asked.items() if value and value != usual.get(key)}
    return f"{base}?{urlencode(kept)}" if kept else base


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def _asked(request: PortalRequest) -> dict[str, Any]:
    try:
        asked = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The request is no JSON.") from error
    if not isinstance(asked, dict):
        raise InvalidInput("The request is no JSON object.")
    return asked


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str):
        raise InvalidInput.of(**{name: "A string is needed."})
    return value


def _texts(asked: dict[str, Any], name: str) -> list[str]:
    values = asked.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidInput.of(**{name: "A list of strings is needed."})
    return values
