"""Where jupyter-collaboration would keep the history of documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pycrdt.store import BaseYStore, YDocNotFound


class NoHistory(BaseYStore):
    """Keeps nothing: the notebook file is what lasts.

    A history on disk would grow with each printed line and be of use only to pages of an earlier
    server, which are asked to load the notebook again.
    """

    def __init__(self, path: str, **options: Any) -> None:
        pass

    async def write(self, data: bytes) -> None:
        """Let it go."""

    async def read(self) -> AsyncIterator[tuple[bytes, bytes, float]]:
        """There is nothing."""
        kept: list[tuple[bytes, bytes, float]] = []
        for one in kept:
            yield one
        raise YDocNotFound
