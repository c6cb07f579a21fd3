"""Puts the countdown's script into a notebook's pages, on their way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import ClientResponse, StreamReader
from multidict import CIMultiDict

PATH = "/.fastgpu/overlay.js"
TAG = f'<script src="{PATH}" defer></script>'.encode()
# A page goes without whose head's end is not within these.
WINDOW_BYTES = 64 * 1024
WINDOW_SECONDS = 2.0
_END_OF_HEAD = b"</head"
# They speak of bytes that are not these any more.
_OF_OTHER_BYTES = ("Accept-Ranges", "Content-MD5", "Content-Digest", "Digest", "Repr-Digest")


def fits(answer: ClientResponse) -> bool:
    """Whether an answer is a page that was sent whole and as it is read."""
    return (
        answer.status == 200
        and answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"
        and answer.headers.get("Content-Encoding", "identity").lower() == "identity"
    )


async def read_start(content: StreamReader) -> tuple[bytes, bool]:
    """The first bytes of a page; True with the script in them, where they hold the head's end."""
    start, is_in = bytearray(), False
    with suppress(TimeoutError):
        async with asyncio.timeout(WINDOW_SECONDS):
            while not is_in and len(start) < WINDOW_BYTES and (chunk := await content.readany()):
                new = max(0, len(start) - len(_END_OF_HEAD))
                start += chunk
                # However much came at once: where the end may stand is no matter of luck.
                found = start[new:WINDOW_BYTES].lower().find(_END_OF_HEAD)
                if is_in := found >= 0:
                    start[new + found : new + found] = TAG
    return bytes(start), is_in


def adapt(headers: CIMultiDict[str]) -> None:
    """Make an answer's headers true of the page with the script in it."""
    if length := headers.get("Content-Length"):
        headers["Content-Length"] = str(int(length) + len(TAG))
    for name in _OF_OTHER_BYTES:
        headers.popall(name, None)
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        # Still good to ask whether the page has changed, not to put parts of it together.
        headers["ETag"] = f"W/{tag}"
