"""Typed, versioned events to browsers, sent on commit through the channel layer.

An event is a hint to look again, never the only carrier of a fact: whoever misses one finds the
same in the database.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
VERSION = 1


def publish_on_commit(group: str, kind: str, payload: dict[str, Any]) -> None:
    """Send `{"v", "kind", "data"}` to every socket in `group` once the transaction commits."""
    transaction.on_commit(partial(publish, group, kind, payload), robust=True)


def publish(group: str, kind: str, payload: dict[str, Any]) -> None:
    """Send at once. A channel layer that does not answer is logged; the page resumes by offset."""
    message = {"type": "event", "event": {"v": VERSION, "kind": kind, "data": payload}}
    layer = get_channel_layer()
    assert layer is not None  # noqa: S101  # settings name one
    try:
        async_to_sync(layer.group_send)(group, message)
    except (RedisError, OSError) as error:
        logger.warning("event %s to %s was lost: %s", kind, group, error)
