"""Is it alive, is it ready, and the API's own 404."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import redis
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from clusters.models import Pool
from portal.lib.rest import error_body

logger = logging.getLogger(__name__)
PROBE_SECONDS = 1.0


def healthz(_request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(_request: HttpRequest) -> JsonResponse:
    """The state of each part; 200 when all are up, else 503."""
    parts = {name: _look(probe) for name, probe in _PROBES.items()}
    ready = all(part["ok"] for part in parts.values())
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


def _look(probe: Callable[[], str]) -> dict[str, object]:
    try:
        return {"ok": True, "detail": probe()}
    except _Down as down:
        return {"ok": False, "detail": str(down)}
    except (DatabaseError, redis.RedisError, httpx.HTTPError, OSError) as error:
        logger.info("not ready: %s", error)
        return {"ok": False, "detail": type(error).__name__}


class _Down(Exception):
    """A part that is not up; the text says why."""


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return f"PostgreSQL {connection.cursor().connection.info.server_version // 10000}"


def _queue() -> str:
    cache.set("readyz", 1, 5)
    if cache.get("readyz") != 1:
        raise _Down("what is written is not read back")
    return "answers"


def _heartbeat(name: str) -> Callable[[], str]:
    def probe() -> str:
        if cache.get(f"heartbeat:{name}") is None:
            raise _Down("no sign of life in the last 10 s")
        return "alive"

    return probe


def _http(url: str) -> Callable[[], str]:
    def probe() -> str:
        response = httpx.get(url, timeout=PROBE_SECONDS)
        if response.status_code != 200:
            raise _Down(f"answers {response.status_code}")
        return "answers"

    return probe


def _stripe() -> str:
    if not settings.STRIPE_SECRET_KEY:
        raise _Down("no key is set")
    if settings.STRIPE_API_BASE:
        return _http(f"{settings.STRIPE_API_BASE}/healthz")() + " (sandbox)"
    return "configured"


def _isolation() -> str:
    pools = list(Pool.objects.filter(is_open=True))
    if not pools:
        raise _Down("there is no pool")
    refused = [pool.health_detail for pool in pools if not pool.may_start]
    if refused:
        raise _Down(refused[0])
    return ", ".join(sorted({pool.isolation for pool in pools}))


_PROBES: dict[str, Callable[[], str]] = {
    "database": _database,
    "queue": _queue,
    "worker": _heartbeat("worker"),
    "agent": _heartbeat("agent"),
    "proxy": _http(f"http://127.0.0.1:{settings.PROXY_PORT}/healthz"),
    "stripe": _stripe,
    "isolation": _isolation,
}


@csrf_exempt
def api_not_found(_request: HttpRequest) -> JsonResponse:
    """Whatever else is asked of the API, by whatever method."""
    return JsonResponse(
        error_body("not_found", "There is no such route. See /api/v1/docs."), status=404
    )
