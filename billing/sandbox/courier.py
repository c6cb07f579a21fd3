"""The background task: sends webhooks when they are due, and does what only time brings."""

from __future__ import annotations

import asyncio
import logging

from billing.sandbox import checkout, refunds
from billing.sandbox.box import Box

logger = logging.getLogger(__name__)
_SWEEP_S = 30.0


class Courier:
    """Sleeps until something is due or `wake` is called."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look again now: something may have been queued, or the clock moved."""
        self._woken.set()

    def catch_up(self) -> None:
        """Expire the Checkout Sessions and settle the refunds whose time has come."""
        if self._box.store.sessions_past(self._box.clock.now()):
            with self._box.store.transaction():
                checkout.expire_overdue(self._box)
        if refunds.due(self._box):
            with self._box.store.transaction():
                refunds.settle_due(self._box)

    async def run(self) -> None:
        """Work until cancelled. A fault is logged and the work goes on after a pause."""
        while True:
            self._woken.clear()
            try:
                self.catch_up()
                await self._box.webhooks.deliver_due()
                due = self._box.webhooks.next_due()
            except Exception:
                logger.exception("the courier stumbled")
                due = None
            pause = _SWEEP_S if due is None else min(due, _SWEEP_S)
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                continue
