"""Event objects: written in the transaction of the change, then queued for delivery."""

from __future__ import annotations

import json

from billing.sandbox.clock import Clock
from billing.sandbox.faults import Faults
from billing.sandbox.settings import API_VERSION
from billing.sandbox.store import Doc, Store, new_id


class Events:
    """`origin` is the API request now being carried out, if any: events carry it."""

    def __init__(self, store: Store, clock: Clock, faults: Faults, *, has_endpoint: bool) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
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
            self._queue(event)
        return event

    def _queue(self, event: Doc) -> None:
        """One delivery now, unless the fault dial says otherwise."""
        fault = self._faults.for_event(event["type"])
        what = fault["what"] if fault else ""
        now = self._clock.exact()
        due = now + fault["seconds"] if fault and what == "hold" else now
        times = {"never": 0, "duplicate": 2}.get(what, 1)
        for _ in range(times):
            self._store.db.execute(
                "INSERT INTO deliveries (event, body, created, due) VALUES (?, ?, ?, ?)",
                (event["id"], json.dumps(event, indent=2), now, due),
            )
