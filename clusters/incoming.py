"""What is sent into volumes: from a request to the action that takes it, for pages and the API."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts.actor import Actor
from clusters.actions.uploads import (
    IncomingArchive,
    IncomingFile,
    begin_unpack,
    begin_upload,
)
from clusters.files.tree import Entry
from clusters.files.upload import OnConflict
from portal.lib.errors import InvalidInput

MOST_DIGITS = 15


class FileSink:
    """Takes a body as a file; answers where it lies."""

    def __init__(self, incoming: IncomingFile) -> None:
        self._incoming = incoming
        self.write, self.abandon = incoming.write, incoming.abandon

    def finish(self) -> dict[str, Any]:
        """The file it became."""
        path, entry = self._incoming.place()
        return {"path": path, **render_entry(entry)}


class ArchiveSink:
    """Takes a body as an archive and unpacks it; answers where."""

    def __init__(self, incoming: IncomingArchive) -> None:
        self._incoming = incoming
        self.write, self.abandon = incoming.write, incoming.abandon

    def finish(self) -> dict[str, Any]:
        """The folder it became."""
        path, entries, left_out = self._incoming.unpacked()
        return {"path": path, "entries": entries, "left_out": left_out}


def file_sink(request: HttpRequest, actor: Actor, volume_id: str, path: str) -> FileSink:
    """Where the body of this request goes. Raises what `begin_upload` does."""
    return FileSink(
        begin_upload(
            actor,
            volume_id,
            path,
            length=length_of(request),
            on_conflict=on_conflict_of(request, OnConflict.REPLACE),
            parents=request.GET.get("parents") == "true",
        )
    )


def archive_sink(request: HttpRequest, actor: Actor, volume_id: str, path: str) -> ArchiveSink:
    """The same for an archive."""
    return ArchiveSink(
        begin_unpack(
            actor,
            volume_id,
            path,
            length=length_of(request),
            on_conflict=on_conflict_of(request, OnConflict.FAIL),
        )
    )


def render_entry(entry: Entry) -> dict[str, Any]:
    """An entry as JSON."""
    return {
        "name": entry.name,
        "kind": str(entry.kind),
        "size_bytes": entry.size_bytes,
        "modified_at": entry.modified_at.isoformat().replace("+00:00", "Z"),
    }


def length_of(request: HttpRequest) -> int | None:
    """Content-Length; None where the body comes in pieces of unknown number."""
    text = str(request.META.get("CONTENT_LENGTH") or "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise InvalidInput.of(length="Content-Length is no size of a file.")
    return int(text)


def on_conflict_of(request: HttpRequest, otherwise: OnConflict) -> OnConflict:
    """`?conflict=`. Raises InvalidInput."""
    text = request.GET.get("conflict", otherwise)
    if text not in list(OnConflict):
        raise InvalidInput.of(conflict=f"One of: {', '.join(OnConflict)}.")
    return OnConflict(text)
