"""The other processes of one proxy: each is asked what it has open."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

TIMEOUT_SECONDS = 2.0


class SiblingAway(Exception):
    """One of them does not answer."""


class Siblings:
    """Those whose sockets lie in `folder` beside `own`; None: there are no others."""

    def __init__(self, folder: Path | None = None, own: str = "") -> None:
        self._folder = folder
        self._own = own

    @property
    def place(self) -> Path | None:
        """Where this process listens for the others."""
        return self._folder / self._own if self._folder else None

    def ask(self) -> list[Awaitable[dict[str, int]]]:
        """What each of the others counts. Awaiting one raises SiblingAway."""
        if self._folder is None:
            return []
        return [_ask(path) for path in self._folder.glob("[!.]*") if path.name != self._own]


async def _ask(path: Path) -> dict[str, int]:
    timeout = ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            ClientSession(connector=UnixConnector(str(path)), timeout=timeout) as session,
            session.get("http://sibling/") as answer,
        ):
            found: dict[str, int] = await answer.json()
            return found
    except (ClientError, OSError, TimeoutError, ValueError) as error:
        raise SiblingAway(f"{path.name}: {error!r}") from error
