"""Event objects: written in the transaction of the change, then queued for delivery."""

from __future__ import annotations

import json

from billing.sandbox.clock import Clock
from billing.sandbox.settings import API_VERSION
from billing.sandbox.store import Doc, Store, new_id


class Events:
    """`origin` is the API request now being carried out, if any: events carry it."""

    def __init__(self, store: Store, clock: Clock, *, has_endpoint: bool) -> None:
        self._store = store
        self._clock = clock
        self._has_endpoint = has_endpoint
        self.origin: Doc = {"id": None, "idempotency_key": None}

    def emit(self, kind: str, obj: Doc, previous: Doc | None = None) -> Doc:
        """Record that `kind` happened to `obj`, as it is now, and queue its delivery."""
        data: Doc = {"object": obj}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Doc = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self._clock.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": int(self._has_endpoint),
            "request": dict(self.origin),
            "type": kind,
        }
        self._store.add(event)
        if self._has_endpoint:
            instant = self._clock.exact()
            self._store.db.execute(
                "INSERT INTO deliveries (event, body, created, due) VALUES (?, ?, ?, ?)",
                (event["id"], json.dumps(event, indent=2), instant, instant),
            )
        return event
