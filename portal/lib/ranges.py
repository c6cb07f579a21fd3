"""Parts of a file, as a request asks for them (RFC 9110, one range)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.http import http_date, parse_http_date_safe

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Part:
    """What to answer: `status` 200, 206, 304 or 416, and bytes `[start, end)` of `size`."""

    status: int
    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes follow."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The header, "" where the whole is answered."""
        if self.status == 206:
            return f"bytes {self.start}-{self.end - 1}/{self.size}"
        return f"bytes */{self.size}" if self.status == 416 else ""


def part_of(headers: Mapping[str, str], *, size: int, etag: str, modified_at: datetime) -> Part:
    """The part that a request with these headers wants of a file.

    Several ranges, and what cannot be read, are answered with the whole.
    """
    if _holds(headers.get("If-None-Match", ""), etag):
        return Part(304, 0, 0, size)
    asked = _RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if asked is None or not _is_same(headers.get("If-Range", ""), etag, modified_at):
        return Part(200, 0, size, size)
    first, last = asked.groups()
    if not first and not last:
        return Part(200, 0, size, size)
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return Part(200, 0, size, size)
    if start >= size or end <= start:
        return Part(416, 0, 0, size)
    return Part(206, start, end, size)


def last_modified(at: datetime) -> str:
    """The header's value."""
    return http_date(at.timestamp())


def _holds(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag in tags


def _is_same(header: str, etag: str, modified_at: datetime) -> bool:
    """Whether the file is still the one of which a part is known."""
    if not header:
        return True
    if header.startswith('"'):
        return header.strip() == etag
    return parse_http_date_safe(header) == int(modified_at.timestamp())
