"""Asks new servers until they answer, and tells the portal."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import ClientConnectionError, ClientError, ServerDisconnectedError

from clusters.backends.dial import NotItsSocket
from clusters.proxy.forward import url_of
from clusters.proxy.portal import Portal, PortalAway
from clusters.proxy.routes import Route
from clusters.proxy.upstreams import Upstreams

logger = logging.getLogger(__name__)
# What each service answers with a 200 once it is up.
PATHS = {"lab": "/api", "terminal": "/api", "tensorboard": "/"}
SOONEST_SECONDS = 0.025
LATEST_SECONDS = 1.0
# The pause grows with the wait, so that the look adds little to it: half of a percent at most.
PAUSE_SHARE = 1 / 200
# However many servers start at once, so many looks a second are made.
LOOKS_PER_SECOND = 500
ANSWER_SECONDS = 10.0
TELL_EVERY_SECONDS = 2.0


class Prober:
    """One task for each server that starts."""

    def __init__(self, upstreams: Upstreams, portal: Portal) -> None:
        self._upstreams = upstreams
        self._portal = portal
        self._tasks: dict[Route, asyncio.Task[None]] = {}

    def start(self, route: Route) -> None:
        """Ask until it answers or the route closes; nothing to do for one that is ready."""
        if route.app.is_starting and route.app.endpoint is not None:
            task = asyncio.create_task(self._look_after(route))
            self._tasks[route] = task
            task.add_done_callback(lambda _: self._tasks.pop(route, None))

    def stop(self, route: Route) -> None:
        """Ask no more."""
        if task := self._tasks.get(route):
            task.cancel()

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, route: Route) -> None:
        teller = _Teller(self._portal, route)
        started = asyncio.get_running_loop().time()
        while failure := await self._ask(route):
            await teller.note(failure)
            waited = asyncio.get_running_loop().time() - started
            await asyncio.sleep(pause_after(waited, len(self._tasks)))
        route.has_answered = True
        await teller.note_ready()

    async def _ask(self, route: Route) -> str:
        """What the server does instead of answering well; "" when it does."""
        assert route.app.endpoint is not None  # noqa: S101  # asked for by `start`
        token = route.app.endpoint.token
        headers = {"Authorization": f"token {token}"} if token else {}
        url = url_of(route.app.endpoint, PATHS.get(route.app.service, "/"))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                session = self._upstreams.session(route)
                async with session.get(url, headers=headers, allow_redirects=False) as answer:
                    # What it says is of no interest, and may have no end.
                    answer.close()
                    return "" if 200 <= answer.status < 300 else f"answers {answer.status}"
        except (ClientError, OSError, TimeoutError) as error:
            return words_of(error)


class _Teller:
    """Tells the portal of one server: what is new, and not too often."""

    def __init__(self, portal: Portal, route: Route) -> None:
        self._portal = portal
        self._app_id = route.app.id
        self._told = ""
        self._again_at = 0.0

    async def note(self, failure: str) -> None:
        """What it does instead of answering."""
        now = asyncio.get_running_loop().time()
        if failure == self._told or now < self._again_at:
            return
        self._again_at = now + TELL_EVERY_SECONDS
        try:
            await self._portal.note_answer(self._app_id, failure)
            self._told = failure
        except PortalAway as error:
            logger.info("the portal was not told that app %d %s: %s", self._app_id, failure, error)

    async def note_ready(self) -> None:
        """It answers. The portal is told until it has heard it: it may be starting anew."""
        pause = SOONEST_SECONDS
        while True:
            try:
                await self._portal.note_answer(self._app_id, "")
            except PortalAway as error:
                logger.info("the portal was not told that app %d answers: %s", self._app_id, error)
                await asyncio.sleep(pause)
                pause = min(LATEST_SECONDS, 2 * pause)
            else:
                return


def pause_after(waited_seconds: float, starting: int) -> float:
    """Seconds until the next look at one of `starting` servers, which was waited for so long."""
    pause = min(LATEST_SECONDS, max(SOONEST_SECONDS, waited_seconds * PAUSE_SHARE))
    return max(pause, starting / LOOKS_PER_SECOND)


def words_of(error: BaseException) -> str:
    """What a server did, for people."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NotItsSocket):
            return "does not listen at a socket of its own"
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return "does not listen yet"
        if isinstance(cause, TimeoutError):
            return "does not answer"
        cause = cause.__cause__
    if isinstance(error, ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return "closed the connection"
    if isinstance(error, ClientConnectionError):
        return "cannot be reached"
    return "answers what is no HTTP"
