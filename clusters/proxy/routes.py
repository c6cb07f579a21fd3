"""What is served now: a route for each app, with what is open to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from clusters.backends.base import Endpoint


@dataclass(frozen=True, slots=True)
class App:
    """What the database says of one: a row of `clusters_app_route`.

    `endpoint` None: where it listens is not known yet. `stops_at` and `stops_for` are the end and
    the reason of a countdown. `title` is what people call the run, "" for what is none.
    """

    id: int
    name: str
    service: str
    state: str
    endpoint: Endpoint | None
    subject: str
    stops_at: datetime | None = None
    stops_for: str = ""
    title: str = ""

    @property
    def is_starting(self) -> bool:
        """Whether the portal has not been told yet that it answers."""
        return self.state == "starting"


class Route:
    """One server under one name, for as long as both stay the same.

    `has_answered`: the server was seen to answer, whatever the portal knows of it.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.has_answered = False
        self.is_closed = False
        self.sockets = 0
        self.clients: set[asyncio.Transport] = set()
        # Of what has no end of its own: WebSockets, the countdown.
        self.lasting: set[asyncio.Transport] = set()
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether requests are forwarded."""
        return self.has_answered or not self.app.is_starting

    def update(self, app: App) -> None:
        """Take in what changed about it besides its server."""
        if app != self.app:
            self.app = app
            self._tell()

    def close(self) -> None:
        """Cut off everything that is open to it, but for those who wait for `changed`."""
        self.is_closed = True
        self._tell()
        for client in list(self.clients):
            client.abort()

    async def changed(self) -> None:
        """Return at the next change, the last of which is that it closes."""
        await self._changed.wait()

    def _tell(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()

    @contextmanager
    def used_by(self, client: asyncio.Transport) -> Iterator[None]:
        """For the length of a request: `client` is cut off when the route closes."""
        self.clients.add(client)
        try:
            yield
        finally:
            self.clients.discard(client)

    @contextmanager
    def lasts(self, client: asyncio.Transport) -> Iterator[None]:
        """For the length of what does not end by itself: it is not waited for."""
        self.lasting.add(client)
        try:
            yield
        finally:
            self.lasting.discard(client)

    @contextmanager
    def socket_open(self, client: asyncio.Transport) -> Iterator[None]:
        """For the length of a WebSocket: it is counted."""
        self.sockets += 1
        try:
            with self.lasts(client):
                yield
        finally:
            self.sockets -= 1


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look at the database changed."""

    opened: list[Route]
    closed: list[Route]


class Routes:
    """Routes by name. `is_known` is false until the database was first read."""

    def __init__(self) -> None:
        self.is_known = False
        self._by_name: dict[str, Route] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Route]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> Route | None:
        """The route of this name, None where there is none."""
        return self._by_name.get(name)

    def replace(self, apps: Mapping[str, App]) -> Changes:
        """Have routes for exactly these apps; a name that moved to another server is a new route.

        The caller closes what is closed.
        """
        changes = Changes([], [])
        for name, route in list(self._by_name.items()):
            app = apps.get(name)
            if app is None or _moved(route.app, app):
                changes.closed.append(self._by_name.pop(name))
            else:
                route.update(app)
        for name, app in apps.items():
            if name not in self._by_name:
                self._by_name[name] = Route(app)
                changes.opened.append(self._by_name[name])
        self.is_known = True
        return changes


def _moved(before: App, after: App) -> bool:
    return (before.id, before.endpoint) != (after.id, after.endpoint)
