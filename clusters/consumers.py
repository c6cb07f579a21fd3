"""WebSockets of clusters: everything live on a run's page comes through one socket.

Messages are `{"v": 1, "kind": KIND, "data": {...}}`, KIND being `hello`, `status`, `gpu`, `log`,
`complete` (the log of this attempt is whole) or `end` (of the run). Byte offsets of the log and the
numbers of the timeline's steps make it resumable: who comes back says where it stopped, and misses
neither a byte nor a step. A retry begins with a `hello` of its own. The page answers
`{"ack": offset}`; more than `WINDOW_BYTES` beyond that is never on its way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from accounts.models import User
from clusters.actions.set_status import group_of, told
from clusters.backends.base import BackendUnavailable, LogChunk
from clusters.choices import WorkloadKind
from clusters.queries.events import events_after, last_event
from clusters.queries.live import (
    LiveRun,
    has_ended,
    live_run_again,
    live_run_of,
    log_start,
)
from clusters.telemetry.follow import PIECE_BYTES, POLL_SECONDS, Follower, following
from clusters.telemetry.text import whole_text
from portal.lib import clock
from portal.lib.errors import NotFound

logger = logging.getLogger(__name__)
VERSION = 1
LOOK_SECONDS = 5.0
SEND_SECONDS = 30.0
RETRY_SECONDS = 1.0
WINDOW_BYTES = 8 * PIECE_BYTES
# A page that opens a long log is given its end; the rest is there to be downloaded.
TAIL_BYTES = 512 * 1024
MAX_MESSAGE = 1000
NOT_SIGNED_IN, NOT_FOUND, MALFORMED, TOO_SLOW, BROKEN = 4401, 4404, 4400, 4408, 4500
NORMAL = 1000


class RunConsumer(AsyncWebsocketConsumer):
    """`?offset=N&attempt=K`: the log from byte N of attempt K, which was read before.

    Without it, from near its end. `chosen=K` shows attempt K only; else the latest that has begun.
    `after=E`: the steps that followed step E come first; without it, those from now on.
    """

    kind: ClassVar[WorkloadKind]

    async def connect(self) -> None:
        """Let in who may see the run. Others are refused with 4401 or 4404."""
        self._tasks: list[asyncio.Task[None]] = []
        self._sending = asyncio.Lock()
        self._acknowledged = asyncio.Event()
        self._changed = asyncio.Event()
        self._acked = 0
        self._group = ""
        self._is_closed = False
        self._chosen = self._number("chosen")
        self._catching = asyncio.Lock()
        live = await self._live_or_close()
        if live is None:
            return
        self._run, self._seen = live.job, live.state
        self._group = group_of(live.job.pk)
        await self.channel_layer.group_add(self._group, self.channel_name)
        after = self._number("after")
        self._event = await database_sync_to_async(last_event)(self._run)
        await self.accept()
        if after is not None:
            self._event = min(after, self._event)
            await self._catch_up()
        self._tasks = [
            asyncio.create_task(self._guarded(self._send_log(live))),
            asyncio.create_task(self._guarded(self._look_again())),
        ]

    async def disconnect(self, code: int) -> None:
        """Leave nothing running."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._group:
            await self.channel_layer.group_discard(self._group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """`{"ack": offset}` and nothing else."""
        acked = _ack_in(text_data)
        if acked is None:
            await self._shut(MALFORMED)
            return
        self._acked = max(self._acked, acked)
        self._acknowledged.set()

    async def event(self, message: dict[str, Any]) -> None:
        """Pass on what was published about the run; steps of the timeline as they are stored."""
        event = message["event"]
        is_status = event["kind"] == "status"
        if is_status and event["data"]["event"]:
            await self._catch_up()
        else:
            await self._send(event)
        if is_status:
            self._seen = (event["data"]["status"], event["data"]["reason"], self._seen[2])
            self._changed.set()

    # --- the log ---

    async def _send_log(self, live: LiveRun) -> None:
        """The log of the attempt that is shown, then that of each which takes its place."""
        offset, attempt = self._number("offset"), self._number("attempt")
        reached, followed = 0, 0
        while True:
            if not live.has_started:
                if not live.is_final:
                    await self._hello(live, offset=0)
            elif live.attempt != followed:
                start = await database_sync_to_async(log_start)(
                    live, offset=offset, attempt=attempt, keep=TAIL_BYTES
                )
                await self._hello(live, offset=start)
                reached, followed = await self._follow(live, start), live.attempt
                await self._tell("complete", {"attempt": followed, "offset": reached})
            if live.is_final:
                break
            # The engine knows of the end before we do; what follows it, an end or a retry?
            live = await self._after_change(live)
        await self._catch_up()
        await self._tell("end", {"status": live.job.status, "offset": reached})
        await self._shut(NORMAL)

    async def _follow(self, live: LiveRun, offset: int) -> int:
        """Send the log from `offset` until it is complete; returns where it ends."""
        self._acked = offset
        async with following(live.engine, live.external_name) as follower:
            while True:
                chunk = await self._next(live, follower, offset)
                text, used = whole_text(chunk.data, is_last=chunk.complete)
                if used:
                    after = offset + used
                    data = {"offset": offset, "next_offset": after, "text": text}
                    await self._tell("log", data)
                    offset = after
                elif not chunk.complete:
                    # Part of a character: its other bytes are not there yet.
                    await asyncio.sleep(POLL_SECONDS)
                if chunk.complete:
                    return offset
                await self._wait_for_room(offset)

    async def _next(self, live: LiveRun, follower: Follower, offset: int) -> LogChunk:
        """What follows `offset`. An attempt that has ended and is silent since is done."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    return await follower.next(offset)
            except TimeoutError:
                if await database_sync_to_async(has_ended)(live):
                    return LogChunk(b"", offset, offset, complete=True)
            except BackendUnavailable as error:
                logger.warning("a log cannot be read now: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_room(self, offset: int) -> None:
        while offset - self._acked > WINDOW_BYTES:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _number(self, name: str) -> int | None:
        query = parse_qs(self.scope["query_string"].decode("ascii", "replace"))
        text = query.get(name, [""])[0]
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None

    # --- who may look, and what has changed ---

    async def _look_again(self) -> None:
        """Every few seconds: may they still, and did an event get lost?"""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            live = await self._live_or_close()
            if live is None:
                return
            if live.state != self._seen:
                self._seen = live.state
                status, reason, _ = live.state
                if not await self._catch_up():
                    await self._tell("status", {"status": status, "reason": reason, "event": 0})
                self._changed.set()

    async def _catch_up(self) -> int:
        """Send the steps that are stored and not sent yet, in order; how many that were."""
        sent = 0
        async with self._catching:
            while steps := await database_sync_to_async(events_after)(self._run, self._event):
                for step in steps:
                    await self._tell("status", told(step))
                    self._event = step.pk
                sent += len(steps)
        return sent

    async def _after_change(self, live: LiveRun) -> LiveRun:
        """The run once its status is another; it may be already."""
        while True:
            self._changed.clear()
            fresh = await database_sync_to_async(live_run_again)(live)
            if fresh.state != live.state:
                return fresh
            await self._changed.wait()

    async def _live_or_close(self) -> LiveRun | None:
        user = await self._user()
        if user is None:
            await self._shut(NOT_SIGNED_IN)
            return None
        public_id = self.scope["url_route"]["kwargs"][f"{self.kind.value}_id"]
        try:
            return await database_sync_to_async(live_run_of)(
                user, self.kind, public_id, chosen=self._chosen
            )
        except NotFound:
            await self._shut(NOT_FOUND)
            return None

    async def _user(self) -> User | None:
        """Who the session belongs to now; None once it has ended."""
        session = self.scope.get("session")
        if session is None or not session.session_key:
            return None
        if not await database_sync_to_async(session.exists)(session.session_key):
            return None
        user = await get_user(self.scope)
        return user if isinstance(user, User) and user.is_active else None

    # --- sending ---

    async def _hello(self, live: LiveRun, *, offset: int) -> None:
        status, reason, attempt = live.state
        data = {
            "run": live.job.public_id,
            "status": status,
            "reason": reason,
            "attempt": attempt,
            "offset": offset,
            "event": self._event,
            "now": clock.now().isoformat(),
        }
        await self._tell("hello", data)

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        await self._send({"v": VERSION, "kind": kind, "data": data})

    async def _send(self, message: dict[str, Any]) -> None:
        """Send, or let go of who does not take it: no queue may grow for them."""
        text = json.dumps(message, ensure_ascii=False)
        async with self._sending:
            if self._is_closed:
                return
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self.send(text)
            except TimeoutError:
                await self._shut(TOO_SLOW)
            except OSError:
                self._is_closed = True  # they have gone; disconnect() follows

    async def _shut(self, code: int) -> None:
        """Close once, with our own code."""
        if not self._is_closed:
            self._is_closed = True
            await self.close(code)

    async def _guarded(self, work: Awaitable[None]) -> None:
        """A part that breaks takes the socket with it, so that the page comes back for it."""
        try:
            await work
        except Exception:
            logger.exception("the socket of a run broke")
            await self._shut(BROKEN)


class JobConsumer(RunConsumer):
    """`/ws/jobs/<id>/`."""

    kind = WorkloadKind.JOB


class NotebookConsumer(RunConsumer):
    """`/ws/notebooks/<id>/`."""

    kind = WorkloadKind.NOTEBOOK


def _ack_in(text: str | None) -> int | None:
    if text is None or len(text) > MAX_MESSAGE:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    acked = message.get("ack") if isinstance(message, dict) else None
    return acked if type(acked) is int and acked >= 0 else None
