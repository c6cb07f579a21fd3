"""What the proxy follows the database with, in a thread, beside a test that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from clusters.proxy.database import Database
from clusters.proxy.routes import Changes, Routes
from clusters.proxy.sessions import Sessions
from clusters.proxy.state import CHANNEL, Follower

# Nothing here waits for that.
NEVER_SECONDS = 3600.0


@dataclass
class Knowing:
    """What a follower in a thread knows."""

    loop: asyncio.AbstractEventLoop
    routes: Routes
    sessions: Sessions

    def let_in(self, name: str, secret: str) -> bool:
        """Whether a request with this secret would be forwarded."""
        found = asyncio.run_coroutine_threadsafe(self.sessions.find(name, [secret]), self.loop)
        return found.result(20) is not None

    def known_sessions(self) -> int:
        """How many have been let in and may still."""
        return len(self.sessions)


@contextmanager
def following(database_url: str) -> Iterator[Knowing]:
    """One that looks by itself but once, when it has connected."""
    ready: Future[Knowing] = Future()

    async def follow() -> None:
        async def apply(changes: Changes) -> None:
            for route in changes.closed:
                route.close()

        async with (
            Database(database_url, channel=CHANNEL) as followed,
            Database(database_url) as asked,
        ):
            routes, sessions = Routes(), Sessions(asked)
            follower = Follower(
                followed,
                routes,
                sessions,
                apply,
                routes_every=NEVER_SECONDS,
                sessions_every=NEVER_SECONDS,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(follower.run())
                await follower.until_seen()
                ready.set_result(Knowing(asyncio.get_running_loop(), routes, sessions))

    loop = asyncio.new_event_loop()
    following = loop.create_task(follow())

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(following)
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ready.result(20)
    finally:
        loop.call_soon_threadsafe(following.cancel)
        thread.join()
