"""One connection to the database that comes back by itself, and what is asked over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psycopg

CONNECT_SECONDS = 5
ANSWER_SECONDS = 5.0

ROUTES = """
SELECT id, name, service, state, endpoint, subject, stops_at, stops_for, title
FROM clusters_app_route
"""
HOLDING = """
SELECT digest, name, user_id FROM clusters_app_access WHERE digest = ANY(%s)
"""
# A ticket is taken once: of two who bring it, the second finds it used.
TAKE_TICKET = """
WITH ticket AS (
    UPDATE clusters_appticket SET used_at = now()
    WHERE digest = %(ticket)s AND name = %(name)s AND used_at IS NULL AND expires_at > now()
    RETURNING name, user_id, session_key)
INSERT INTO clusters_appsession (digest, name, user_id, session_key, created_at, expires_at)
SELECT %(session)s, name, user_id, session_key, now(), now() + %(seconds)s * interval '1 second'
FROM ticket RETURNING id
"""


class DatabaseAway(Exception):
    """It does not answer, or not in time."""


class Database:
    """One connection, used by one task at a time. Use as an async context manager.

    `prepares` false: behind a pooler that hands out connections per transaction. `channel` is
    what each new connection listens to.
    """

    def __init__(self, url: str, *, prepares: bool = True, channel: str = "") -> None:
        self._url = url
        self._channel = channel
        self._prepare_threshold = 5 if prepares else None
        self._turn = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._drop()

    async def ask(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is committed. Raises DatabaseAway."""
        async with self._turn:
            try:
                async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS):
                    connection = await self._connected()
                async with asyncio.timeout(ANSWER_SECONDS):
                    cursor = await connection.execute(query.encode(), parameters)
                    return await cursor.fetchall() if cursor.description else []
            except (psycopg.Error, OSError, TimeoutError) as error:
                await self._drop()
                raise DatabaseAway(str(error) or type(error).__name__) from error
            except asyncio.CancelledError:
                # An answer that comes later must not be taken for the next one's.
                await self._drop()
                raise

    async def notices(self, *, seconds: float) -> Sequence[str]:
        """What was told on the channel since the connection was made, waiting so long for it.

        Raises DatabaseAway, also when no connection stands: something may have been missed.
        """
        async with self._turn:
            if self._connection is None:
                raise DatabaseAway("not connected")
            try:
                heard = self._connection.notifies(timeout=seconds, stop_after=1)
                return [notice.payload async for notice in heard]
            except (psycopg.Error, OSError) as error:
                await self._drop()
                raise DatabaseAway(str(error)) from error

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=self._prepare_threshold,
            )
            if self._channel:
                await self._connection.execute(f"LISTEN {self._channel}".encode())
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
