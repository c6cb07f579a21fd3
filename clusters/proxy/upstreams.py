"""Connections to what workloads serve: a pool of kept ones for each route in use."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import (
    BaseConnector,
    ClientConnectionError,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from aiohttp.client_proto import ResponseHandler

from clusters.backends.base import Endpoint
from clusters.backends.dial import dial
from clusters.proxy.routes import Route

BUFFER_BYTES = 128 * 1024
HEADER_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 30.0
# Answers that announce another (100 Continue, 103 Early Hints): nobody needs more before one.
INTERIM_MOST = 16
# What a client would add by itself; a proxy adds nothing.
_ADDED_BY_CLIENTS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Upstreams:
    """One client session for each route, until it is forgotten."""

    def __init__(self) -> None:
        self._sessions: dict[Route, ClientSession] = {}

    def session(self, route: Route) -> ClientSession:
        """The session that speaks to the route's server. Raises ClientConnectionError once closed.

        It lives as long as the route, so that closing it ends all that is open to that server.
        """
        session = self._sessions.get(route)
        if session is None:
            if route.is_closed or route.app.endpoint is None:
                raise ClientConnectionError("there is no server")
            session = self._sessions[route] = _open(route.app.endpoint)
        return session

    async def forget(self, route: Route) -> None:
        """Close every connection to the route's server, those in use among them."""
        session = self._sessions.pop(route, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Forget every route."""
        for route in list(self._sessions):
            await self.forget(route)


def _open(endpoint: Endpoint) -> ClientSession:
    return ClientSession(
        connector=_Connector(endpoint),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_ADDED_BY_CLIENTS,
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        read_bufsize=BUFFER_BYTES,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
    )


class _Connector(BaseConnector):
    """Connects to one endpoint and to nothing else, whatever a request is addressed to.

    How many there may be at once is a matter of the route's clients.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        self._endpoint = endpoint

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: Any,
        timeout: ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        factory = partial(_Answers, loop=loop)
        async with asyncio.timeout(timeout.sock_connect):
            if self._endpoint.socket:
                with dial(self._endpoint) as path:
                    _, protocol = await loop.create_unix_connection(factory, path)
            else:
                host, port = self._endpoint.host, self._endpoint.port
                _, protocol = await loop.create_connection(factory, host, port)
        return protocol


class _Answers(ResponseHandler):
    """Answers of one connection, with an end to those that only announce another."""

    _interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        """One head of an answer."""
        code = data[0].code
        if 100 <= code < 200 and code != 101:
            self._interim += 1
            if self._interim > INTERIM_MOST:
                self.set_exception(ClientConnectionError("nothing but announcements"))
                if self.transport is not None:
                    self.transport.abort()
                return
        else:
            self._interim = 0
        super().feed_data(data, size)
