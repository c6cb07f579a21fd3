"""What the proxy answers to those who run it, on hosts that are no app's."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter

from aiohttp.web import BaseRequest, Response

from clusters.proxy.answers import Whole
from clusters.proxy.pages import HEADERS
from clusters.proxy.routes import Routes
from clusters.proxy.sessions import Sessions
from clusters.proxy.siblings import SiblingAway, Siblings
from clusters.proxy.state import Follower


class Operations:
    """Health, and who is connected to what."""

    def __init__(
        self,
        *,
        token: str,
        routes: Routes,
        sessions: Sessions,
        follower: Follower,
        siblings: Siblings,
    ) -> None:
        self._token = token
        self._routes = routes
        self._sessions = sessions
        self._follower = follower
        self._siblings = siblings

    async def answer(self, request: BaseRequest) -> Response:
        """Answer a request for the proxy itself."""
        path = request.raw_path.partition("?")[0]
        if path not in {"/healthz", "/connections"}:
            return _plain(404, "There is nothing here.")
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, "Use GET.", {"Allow": "GET, HEAD"})
        return self._health() if path == "/healthz" else await self._connections(request)

    def counted(self) -> dict[str, int]:
        """WebSockets that are open through this process, by the name of each app."""
        return {route.app.name: route.sockets for route in self._routes}

    def _health(self) -> Response:
        return _json(
            {
                "routes": len(self._routes),
                "sessions": len(self._sessions),
                "requests": sum(len(route.clients) for route in self._routes),
                "sockets": sum(route.sockets for route in self._routes),
                "database_seen_seconds_ago": self._follower.seen_seconds_ago(),
            }
        )

    async def _connections(self, request: BaseRequest) -> Response:
        said = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not self._token or not hmac.compare_digest(said, f"Bearer {self._token}".encode()):
            return _plain(401, "Bring the proxy's token.", {"WWW-Authenticate": "Bearer"})
        total = Counter(self.counted())
        try:
            for theirs in await asyncio.gather(*self._siblings.ask()):
                total.update(theirs)
        except SiblingAway as error:
            return _plain(503, f"Not all of the proxy answers: {error}.")
        return _json(dict(total))


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Whole(status=status, text=f"{text}\n", headers={**HEADERS, **(headers or {})})


def _json(found: object) -> Response:
    return Whole(text=json.dumps(found), content_type="application/json", headers=HEADERS)
