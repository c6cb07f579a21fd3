"""Answers to which nothing is added on their way out."""

from __future__ import annotations

from aiohttp.web import Response, StreamResponse

# What aiohttp puts into answers that lack it. A type that the server did not say is not ours to
# guess, and which software this is is nobody's business.
_ADDED = ("Content-Type", "Server")


class _AsSaid(StreamResponse):
    async def _prepare_headers(self) -> None:
        added = [name for name in _ADDED if name not in self.headers]
        await super()._prepare_headers()
        for name in added:
            self.headers.popall(name, None)


class Streamed(_AsSaid):
    """Written piece by piece."""


class Whole(Response, _AsSaid):
    """Written at once."""
