"""The parts of one sandbox, put together."""

from __future__ import annotations

from billing.sandbox.clock import Clock
from billing.sandbox.events import Events
from billing.sandbox.faults import Faults
from billing.sandbox.idempotency import Idempotency
from billing.sandbox.settings import Settings
from billing.sandbox.store import Store
from billing.sandbox.webhooks import Webhooks


class Box:
    """What every operation gets to work with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.state_dir)
        self.clock = Clock(self.store)
        self.faults = Faults(self.store)
        self.events = Events(
            self.store, self.clock, self.faults, has_endpoint=bool(settings.webhook_url)
        )
        self.idempotency = Idempotency(self.store, self.clock)
        self.webhooks = Webhooks(self.store, self.clock, settings)
