"""Follows what the database wants served, and who may still open it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields
from typing import Any

from clusters.backends.base import Endpoint
from clusters.proxy.database import HOLDING, ROUTES, Database, DatabaseAway
from clusters.proxy.routes import App, Changes, Routes
from clusters.proxy.sessions import Sessions

logger = logging.getLogger(__name__)
CHANNEL = "fastgpu_apps"
ROUTES_EVERY_SECONDS = 5.0
SESSIONS_EVERY_SECONDS = 1.0
# Notices that come in a row are read together: what is read takes no more than this share of time.
BUSY_SHARE = 0.2
RETRY_SECONDS = 0.5
_ENDPOINT_FIELDS = frozenset(field.name for field in fields(Endpoint))
_OF_SESSIONS = "clusters_appsession"


class Follower:
    """Keeps `routes` and `sessions` as the database says. `apply` is told what has changed.

    `database` must listen to `CHANNEL` and be used by nobody else. It is read when it tells of a
    change, and without that every so many seconds, `routes_every` and `sessions_every`.
    A look that fails changes nothing: what was known stays.
    """

    def __init__(
        self,
        database: Database,
        routes: Routes,
        sessions: Sessions,
        apply: Callable[[Changes], Awaitable[None]],
        *,
        routes_every: float = ROUTES_EVERY_SECONDS,
        sessions_every: float = SESSIONS_EVERY_SECONDS,
    ) -> None:
        self._database = database
        self._routes = routes
        self._sessions = sessions
        self._apply = apply
        self._routes_every = routes_every
        self._sessions_every = sessions_every
        self._loop = asyncio.get_running_loop()
        self._seen_at: float | None = None
        self._has_seen = asyncio.Event()
        self._routes_due = 0.0
        self._sessions_due = 0.0
        # No sooner than this, whatever is told.
        self._routes_rest = 0.0

    def seen_seconds_ago(self) -> float | None:
        """When the database was last read; None: never yet."""
        return None if self._seen_at is None else round(self._loop.time() - self._seen_at, 1)

    async def until_seen(self) -> None:
        """Return once the database was read for the first time."""
        await self._has_seen.wait()

    async def run(self) -> None:
        """Follow until cancelled, through any absence of the database."""
        is_away = False
        while True:
            try:
                await self._look()
                if is_away:
                    logger.info("the database answers again")
                is_away = False
                await self._listen()
            except DatabaseAway as error:
                if not is_away:
                    logger.warning("the database does not answer, what is known stays: %s", error)
                is_away = True
                # Nothing was told meanwhile.
                self._routes_due = self._sessions_due = 0.0
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        # Routes first: who is connected to what has ended is told so before they are cut off.
        if self._loop.time() >= self._routes_due:
            await self._read_routes()
        if self._loop.time() >= self._sessions_due:
            await self._check_sessions()

    async def _read_routes(self) -> None:
        began = self._loop.time()
        rows = await self._database.ask(ROUTES)
        await self._apply(self._routes.replace({app.name: app for app in _apps(rows)}))
        self._seen_at = self._loop.time()
        self._has_seen.set()
        self._routes_rest = self._seen_at + (self._seen_at - began) / BUSY_SHARE
        self._routes_due = self._seen_at + self._routes_every

    async def _check_sessions(self) -> None:
        self._sessions_due = self._loop.time() + self._sessions_every
        digests = self._sessions.in_use()
        if digests:
            holding = {row[0] for row in await self._database.ask(HOLDING, [digests])}
            if ended := self._sessions.end(set(digests) - holding):
                logger.info("%d sessions have ended", ended)

    async def _listen(self) -> None:
        seconds = min(self._routes_due, self._sessions_due) - self._loop.time()
        if seconds <= 0:
            return
        for table in await self._database.notices(seconds=seconds):
            if table == _OF_SESSIONS:
                self._sessions_due = 0.0
            else:
                self._sessions_due = self._routes_due = min(self._routes_due, self._routes_rest)


def _apps(rows: Iterable[tuple[Any, ...]]) -> Iterable[App]:
    for pk, name, service, state, endpoint, subject, *more in rows:
        yield App(pk, name, service, state, _endpoint(endpoint), subject or "", *more)


def _endpoint(said: dict[str, Any]) -> Endpoint | None:
    known = {key: value for key, value in said.items() if key in _ENDPOINT_FIELDS}
    found = Endpoint(**known)
    return found if found.socket or found.port else None
