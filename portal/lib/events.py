"""Typed, versioned events to browsers, sent on commit through the channel layer.

An event is a hint to look again, never the only carrier of a fact: whoever misses one finds the
same in the database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from functools import cache, partial
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)
VERSION = 1


def publish_on_commit(group: str, kind: str, payload: dict[str, Any]) -> None:
    """Send `{"v", "kind", "data"}` to every socket in `group` once the transaction commits."""
    transaction.on_commit(partial(publish, group, kind, payload), robust=True)


def publish(group: str, kind: str, payload: dict[str, Any]) -> None:
    """Send at once, without waiting. What does not arrive is logged; the page looks again."""
    message = {"type": "event", "event": {"v": VERSION, "kind": kind, "data": payload}}
    layer = get_channel_layer()
    assert layer is not None  # noqa: S101  # settings name one
    sending = asyncio.run_coroutine_threadsafe(_send(layer, group, message), _loop())
    sending.add_done_callback(partial(_report, group, kind))


async def _send(layer: Any, group: str, message: dict[str, Any]) -> None:
    await layer.group_send(group, message)


def _report(group: str, kind: str, sending: Future[None]) -> None:
    error = sending.exception()
    if error is not None:
        logger.warning("event %s to %s was lost: %s", kind, group, error)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all events of this process: the layer keeps a connection for each loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="events", daemon=True).start()
    return loop
