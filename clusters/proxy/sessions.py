"""Who is let in: sessions that were seen here, looked up once and watched from then on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from clusters.proxy.database import HOLDING, Database, DatabaseAway

# A session that was not used for so long is looked up anew.
KEPT_SECONDS = 300.0
# What is no session is asked of the database again after this long, no sooner.
UNKNOWN_SECONDS = 1.0
UNKNOWN_MOST = 10_000
LOOKUPS_MOST = 2_000


def digest_of(secret: str) -> str:
    """What the database knows of a bearer secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Session:
    """A person at one app. `clients` are cut off when it ends."""

    __slots__ = ("clients", "digest", "name", "used_at", "user_id")

    def __init__(self, digest: str, name: str, user_id: int, used_at: float) -> None:
        self.digest = digest
        self.name = name
        self.user_id = user_id
        self.used_at = used_at
        self.clients: set[asyncio.Transport] = set()

    @contextmanager
    def used_by(self, client: asyncio.Transport) -> Iterator[None]:
        """For the length of a request: `client` is cut off when the session ends."""
        self.clients.add(client)
        try:
            yield
        finally:
            self.clients.discard(client)


class Sessions:
    """Sessions by digest, and the questions of those who bring one that is not known yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, Session] = {}
        self._unknown: dict[str, float] = {}
        self._questions: list[tuple[list[str], asyncio.Future[None]]] = []
        self._asking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._known)

    async def find(self, name: str, secrets: Sequence[str]) -> Session | None:
        """The first of these secrets' sessions that is one of `name`; None where none is.

        Raises DatabaseAway when that is not known and cannot be asked.
        """
        digests = [digest_of(secret) for secret in secrets]
        found = self._first(name, digests)
        if found is None:
            now = self._loop.time()
            new = [digest for digest in digests if self._unknown.get(digest, 0.0) <= now]
            if new:
                await self._ask(new)
                found = self._first(name, digests)
        return found

    def in_use(self) -> list[str]:
        """Digests of all that are known, after those have gone that nobody has used lately."""
        old = self._loop.time() - KEPT_SECONDS
        for session in list(self._known.values()):
            if not session.clients and session.used_at < old:
                del self._known[session.digest]
        return list(self._known)

    def end(self, digests: Iterable[str]) -> int:
        """Let these in no more and cut off what they have open; returns how many were known."""
        gone = [found for digest in digests if (found := self._known.pop(digest, None))]
        for session in gone:
            for client in list(session.clients):
                client.abort()
        return len(gone)

    def _first(self, name: str, digests: Sequence[str]) -> Session | None:
        for digest in digests:
            session = self._known.get(digest)
            if session is not None and session.name == name:
                session.used_at = self._loop.time()
                return session
        return None

    async def _ask(self, digests: list[str]) -> None:
        if len(self._questions) >= LOOKUPS_MOST:
            raise DatabaseAway("too many ask at once")
        answered = self._loop.create_future()
        self._questions.append((digests, answered))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._answer())
        await answered

    async def _answer(self) -> None:
        """One question for all who have asked meanwhile."""
        while self._questions:
            questions, self._questions = self._questions, []
            digests = list({digest for wanted, _ in questions for digest in wanted})
            try:
                self._learn(digests, await self._database.ask(HOLDING, [digests]))
            except DatabaseAway as error:
                for _, answered in questions:
                    if not answered.done():
                        answered.set_exception(DatabaseAway(str(error)))
            else:
                for _, answered in questions:
                    if not answered.done():
                        answered.set_result(None)

    def _learn(self, digests: Iterable[str], rows: Iterable[tuple[str, str, int]]) -> None:
        now = self._loop.time()
        for digest, name, user_id in rows:
            self._known.setdefault(digest, Session(digest, name, user_id, now))
        if len(self._unknown) > UNKNOWN_MOST:
            self._unknown.clear()
        for digest in digests:
            if digest not in self._known:
                self._unknown[digest] = now + UNKNOWN_SECONDS
