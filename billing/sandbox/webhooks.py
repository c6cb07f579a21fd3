"""Signed deliveries of events to the one webhook URL, tried again until it answers 2xx."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import logging
import sqlite3
from urllib.parse import urlsplit

from billing.sandbox.clock import Clock
from billing.sandbox.settings import Settings
from billing.sandbox.store import Store

logger = logging.getLogger(__name__)
TIMEOUT_S = 10.0
LONGEST_WAIT_S = 300.0
GIVE_UP_AFTER_S = 3 * 24 * 3600


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The `Stripe-Signature` header: HMAC-SHA256 over `timestamp.body`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send once and return the HTTP status; redirects are not followed. Raises OSError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


class Webhooks:
    """Delivers what is due, one after the other, in the order of when it is due."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    def next_due(self) -> float | None:
        """Seconds until the next attempt (0 when overdue), None when nothing is queued."""
        row = self._first()
        return None if row is None else max(0.0, float(row["due"]) - self._clock.exact())

    async def deliver_due(self) -> None:
        """Attempt each delivery that is due now."""
        while (row := self._first()) is not None and row["due"] <= self._clock.exact():
            await self._attempt(row)

    def _first(self) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._store.db.execute(
            "SELECT * FROM deliveries WHERE state = 'pending' ORDER BY due, id LIMIT 1"
        ).fetchone()
        return row if self._settings.webhook_url else None

    async def _attempt(self, row: sqlite3.Row) -> None:
        body = row["body"].encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (FastGPU sandbox)",
            "Stripe-Signature": signature(self._settings.webhook_secret, self._clock.now(), body),
        }
        try:
            status = await asyncio.to_thread(post, self._settings.webhook_url, body, headers)
            result, good = f"HTTP {status}", 200 <= status < 300
        except OSError as error:
            result, good = str(error) or type(error).__name__, False
        with self._store.transaction():
            self._record(row, result, good=good)

    def _record(self, row: sqlite3.Row, result: str, *, good: bool) -> None:
        attempts = row["attempts"] + 1
        wait = min(self._settings.retry_base_s * 2 ** min(attempts - 1, 20), LONGEST_WAIT_S)
        due = self._clock.exact() + wait
        state = "delivered" if good else "pending"
        if not good and due > row["created"] + GIVE_UP_AFTER_S:
            state = "given_up"
        self._store.db.execute(
            "UPDATE deliveries SET attempts = ?, due = ?, state = ?, last_result = ? WHERE id = ?",
            (attempts, due, state, result, row["id"]),
        )
        if good:
            event = self._store.get("event", row["event"])
            self._store.save(event | {"pending_webhooks": 0})
        else:
            logger.warning(
                "webhook %s, attempt %d: %s; %s",
                row["event"], attempts, result,
                f"again in {wait:g} s" if state == "pending" else "given up",
            )  # fmt: skip
