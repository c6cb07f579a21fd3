"""Asks the workload proxy who is connected to what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from django.conf import settings

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Connections:
    """WebSockets that are open to one app now."""

    open: int


def connections() -> Mapping[str, Connections] | None:
    """By the name of each app that somebody is connected to; None where the proxy is silent."""
    try:
        answer = httpx.get(
            f"http://127.0.0.1:{settings.PROXY_PORT}/connections",
            headers={"Authorization": f"Bearer {settings.PROXY_TOKEN}"},
            timeout=TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        found: Any = answer.json()
        return {str(name): Connections(int(count)) for name, count in found.items()}
    except (httpx.HTTPError, ValueError, TypeError, AttributeError) as error:
        logger.warning("who is connected is not known: %s", error)
        return None
