"""The background task: sends webhooks when they are due, expires sessions whose time is over."""

from __future__ import annotations

import asyncio
import logging

from billing.sandbox import checkout
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

    def expire_sessions(self) -> None:
        """Expire the Checkout Sessions whose time is over."""
        if self._box.store.sessions_past(self._box.clock.now()):
            with self._box.store.transaction():
                checkout.expire_overdue(self._box)

    async def run(self) -> None:
        """Work until cancelled. A fault is logged and the work goes on after a pause."""
        while True:
            self._woken.clear()
            try:
                self.expire_sessions()
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
