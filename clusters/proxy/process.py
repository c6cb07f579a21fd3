"""One process of the proxy, from its first connection to its last."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiohttp.web import BaseRequest, Server, StreamResponse, json_response

from clusters.proxy.credentials import cookie_name
from clusters.proxy.database import Database
from clusters.proxy.forward import Forwarder
from clusters.proxy.front import Front
from clusters.proxy.operations import Operations
from clusters.proxy.portal import Portal
from clusters.proxy.probe import Prober
from clusters.proxy.routes import Changes, Routes
from clusters.proxy.server import BACKLOG, Connections
from clusters.proxy.sessions import Sessions
from clusters.proxy.settings import Settings
from clusters.proxy.siblings import Siblings
from clusters.proxy.state import CHANNEL, Follower
from clusters.proxy.upstreams import Upstreams

logger = logging.getLogger(__name__)
# How long requests may go on when the proxy stops. Nobody can connect meanwhile.
DRAIN_SECONDS = 5.0
# How long one waits to know what is running while others serve: longer than its parent does.
KNOWING_SECONDS = 30.0
# How long everything may go on when another process has taken over.
RETIRE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process listens and how it belongs to others.

    `listener` None: a socket of its own. `folder` and `number`: where it is asked by the others.
    `lifeline` is a file that ends when the process that started this one is gone. `is_relief`:
    others serve that socket already.
    """

    listener: socket.socket | None = None
    folder: Path | None = None
    number: str = ""
    lifeline: int | None = None
    is_relief: bool = False


def run(settings: Settings, place: Place) -> None:
    """Serve until SIGTERM, or SIGUSR1 when another has taken over."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, place))


async def _serve(settings: Settings, place: Place) -> None:
    async with AsyncExitStack() as held:
        prepares = settings.database_prepares
        followed = Database(settings.database_url, prepares=prepares, channel=CHANNEL)
        asked = Database(settings.database_url, prepares=prepares)
        await held.enter_async_context(followed)
        await held.enter_async_context(asked)
        upstreams, portal = Upstreams(), Portal(settings)
        held.push_async_callback(upstreams.close)
        held.push_async_callback(portal.close)
        prober = Prober(upstreams, portal)
        held.push_async_callback(prober.close)
        routes, sessions = Routes(), Sessions(asked)

        async def apply(changes: Changes) -> None:
            for route in changes.closed:
                prober.stop(route)
                route.close()
                await upstreams.forget(route)
            for route in changes.opened:
                prober.start(route)

        follower = Follower(followed, routes, sessions, apply)
        siblings = Siblings(place.folder, place.number)
        operations = Operations(
            token=settings.proxy_token,
            routes=routes,
            sessions=sessions,
            follower=follower,
            siblings=siblings,
        )
        cookie = cookie_name(is_https=settings.is_https)
        forwarder = Forwarder(upstreams, cookie=cookie)
        front = Front(settings, routes, sessions, asked, forwarder, portal, operations)
        following = asyncio.create_task(follower.run())
        held.push_async_callback(_ended, following)
        connections = Connections(front.handle, limit=settings.connections)
        stopped = _until_told(place)
        if place.is_relief:
            await _until_known(follower, stopped)
        await held.enter_async_context(_listening_to_siblings(siblings, operations))
        listening = await _listen(settings, place, connections)
        _spare_collections()
        logger.info("listening on %s:%d", settings.host, settings.port)
        following.add_done_callback(lambda _: None if stopped.done() else stopped.cancel())
        seconds = await stopped
        listening.close()
        if seconds == DRAIN_SECONDS:
            for route in routes:
                for client in list(route.lasting):
                    client.abort()
        await connections.drain(seconds)


async def _until_known(follower: Follower, stopped: asyncio.Future[float]) -> None:
    """Nobody is told to wait whom another could answer."""
    known = asyncio.create_task(follower.until_seen())
    either: list[asyncio.Future[Any]] = [known, stopped]
    first = asyncio.FIRST_COMPLETED
    await asyncio.wait(either, timeout=KNOWING_SECONDS, return_when=first)
    known.cancel()


async def _listen(
    settings: Settings, place: Place, connections: Connections
) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    if place.listener is not None:
        return await loop.create_server(connections, sock=place.listener, backlog=BACKLOG)
    host = settings.host or None
    return await loop.create_server(connections, host, settings.port, backlog=BACKLOG)


@asynccontextmanager
async def _listening_to_siblings(siblings: Siblings, operations: Operations) -> AsyncIterator[None]:
    """The other processes may ask this one, for the length of the block."""
    if siblings.place is None:
        yield
        return

    async def counted(_request: BaseRequest) -> StreamResponse:
        return json_response(operations.counted())

    # Seen by the others, and by the parent, only once it listens.
    draft = siblings.place.with_name(f".{siblings.place.name}")
    server = Server(counted, access_log=None)
    listening = await asyncio.get_running_loop().create_unix_server(server, str(draft))
    draft.rename(siblings.place)
    try:
        yield
    finally:
        listening.close()
        await server.shutdown(0)
        siblings.place.unlink(missing_ok=True)
        with suppress(OSError):
            # The last one, where a parent that was killed could not.
            siblings.place.parent.rmdir()


def _until_told(place: Place) -> asyncio.Future[float]:
    """Done when this process shall end: with the seconds that requests may take for it."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[float] = loop.create_future()

    def stop(seconds: float) -> None:
        if not told.done():
            told.set_result(seconds)

    loop.add_signal_handler(signal.SIGTERM, stop, DRAIN_SECONDS)
    loop.add_signal_handler(signal.SIGINT, stop, DRAIN_SECONDS)
    loop.add_signal_handler(signal.SIGUSR1, stop, RETIRE_SECONDS)
    if place.lifeline is not None:
        os.set_blocking(place.lifeline, False)
        loop.add_reader(place.lifeline, stop, DRAIN_SECONDS)
    return told


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _spare_collections() -> None:
    # What the start has built stays for good, and a request leaves few cycles behind.
    gc.freeze()
    gc.set_threshold(5_000, 50, 100)
