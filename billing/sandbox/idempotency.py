"""One answer per `Idempotency-Key`, kept for 24 hours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from billing.sandbox.clock import Clock
from billing.sandbox.errors import InvalidRequest, KeyInFlight, KeyReused
from billing.sandbox.store import Store

KEPT_S = 24 * 3600
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered the first time: the request's id, HTTP status and JSON text.

    `is_dropped`: nobody is to receive it.
    """

    request_id: str
    status: int
    body: str
    is_dropped: bool = False


def fingerprint(form: dict[str, Any]) -> str:
    """The same for the same parameters, in whatever order they came."""
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


class Idempotency:
    """In-flight keys are known to this process only: a crash takes its requests with it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._in_flight: set[str] = set()

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold `key` while its request is carried out; raises KeyInFlight, InvalidRequest."""
        if len(key) > MAX_KEY:
            raise InvalidRequest(
                f"Idempotency keys can be at most {MAX_KEY} characters",
                code="idempotency_key_too_long",
            )
        if key in self._in_flight:
            raise KeyInFlight(
                "Another request with this idempotency key is still being carried out: "
                f"'{key}'. Try again in a moment.",
                code="idempotency_key_in_use",
            )
        self._in_flight.add(key)
        try:
            yield
        finally:
            self._in_flight.discard(key)

    def recall(self, key: str, path: str, parameters: str) -> Answer | None:
        """The stored answer; raises KeyReused when it answered another request."""
        self._store.db.execute(
            "DELETE FROM answers WHERE created <= ?", (self._clock.now() - KEPT_S,)
        )
        row = self._store.db.execute("SELECT * FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row["path"] != path:
            raise KeyReused(
                "Keys for idempotent requests can only be used for the endpoint they were first "
                f"used for ('{path}' vs '{row['path']}'). Use another key than '{key}'."
            )
        if row["fingerprint"] != parameters:
            raise KeyReused(
                "Keys for idempotent requests can only be used with the parameters they were "
                f"first used with. Use another key than '{key}'."
            )
        return Answer(row["request_id"], row["status"], row["body"])

    def remember(self, key: str, path: str, parameters: str, answer: Answer) -> None:
        """Keep `answer`; call it in the transaction that carried the request out."""
        self._store.db.execute(
            "INSERT INTO answers (key, path, fingerprint, request_id, created, status, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key, path, parameters, answer.request_id, self._clock.now(), answer.status,
                answer.body,
            ),
        )  # fmt: skip
