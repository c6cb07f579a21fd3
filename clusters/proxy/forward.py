"""Answers one request with what the workload's server answers."""

from __future__ import annotations

import logging

from aiohttp import ClientError, ClientResponse
from aiohttp.web import BaseRequest, StreamResponse
from multidict import CIMultiDict
from yarl import URL

from clusters.backends.base import Endpoint
from clusters.proxy import headers as crossing
from clusters.proxy import overlay
from clusters.proxy.answers import Streamed, Whole
from clusters.proxy.pages import Notice
from clusters.proxy.pages import answer as say
from clusters.proxy.routes import Route
from clusters.proxy.tunnel import relay
from clusters.proxy.upstreams import Upstreams

# An answer of this size that is here already leaves in one write with its head.
WHOLE_BYTES = 64 * 1024
FAILED = (ClientError, OSError, TimeoutError)
UNASKED = Notice(
    502,
    "bad_answer",
    "The server switched protocols",
    "Nothing had asked it to. Its log may say why.",
)
SILENT = Notice(
    502,
    "no_answer",
    "The server does not answer",
    "What runs under this name has closed its connection, or cannot be reached. Try again; if it "
    "stays so, look at its log in FastGPU.",
)
logger = logging.getLogger(__name__)


class Forwarder:
    """Sends requests on to the server of a route. `cookie` is the name of ours."""

    def __init__(self, upstreams: Upstreams, *, cookie: str) -> None:
        self._upstreams = upstreams
        self._cookie = cookie

    async def forward(
        self,
        request: BaseRequest,
        route: Route,
        sent: CIMultiDict[str],
        target: str,
        *,
        is_page: bool,
    ) -> StreamResponse:
        """Answer `request`, which may go to `route`, with `sent` for its headers.

        `is_page`: a person opens it in a browser. 502 when the server does not answer; a client
        that has had the beginning of an answer is cut off where the server was.
        """
        endpoint = route.app.endpoint
        if endpoint is None:
            return say(SILENT, as_page=is_page)
        if endpoint.token:
            sent["Authorization"] = f"token {endpoint.token}"
        with_overlay = is_page and route.app.service == "lab" and "Range" not in sent
        if with_overlay:
            sent["Accept-Encoding"] = "identity"
        if wants_websocket(request):
            sent.update({"Connection": "Upgrade", "Upgrade": "websocket"})
        _invite_body(request, sent)
        body = request.content if request.body_exists else None
        try:
            session = self._upstreams.session(route)
            async with session.request(
                request.method,
                url_of(endpoint, target),
                headers=sent,
                data=body,
                allow_redirects=False,
            ) as answer:
                if answer.status == 101:
                    return await self._switch(request, route, answer)
                return await self._pass_on(request, answer, with_overlay=with_overlay)
        except FAILED as error:
            # Nothing has been written yet: `_pass_on` deals with what fails later.
            logger.info("%s did not answer: %r", route.app.name, error)
            return say(SILENT, as_page=is_page)

    async def _pass_on(
        self, request: BaseRequest, answer: ClientResponse, *, with_overlay: bool
    ) -> StreamResponse:
        headers = crossing.to_client(answer.headers, cookie=self._cookie)
        content, start = answer.content, b""
        if with_overlay and overlay.fits(answer):
            start, is_in = await overlay.read_start(content)
            if is_in:
                overlay.adapt(headers)
        if content.is_eof() and content.total_bytes <= WHOLE_BYTES and request.method != "HEAD":
            body = start + content.read_nowait()
            return Whole(status=answer.status, reason=answer.reason, headers=headers, body=body)
        response = Streamed(status=answer.status, reason=answer.reason, headers=headers)
        await response.prepare(request)
        try:
            if start:
                await response.write(start)
            while chunk := await content.readany():
                await response.write(chunk)
            await response.write_eof()
        except FAILED:
            # A clean end would pass a torn answer off as a whole one.
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _switch(
        self, request: BaseRequest, route: Route, answer: ClientResponse
    ) -> StreamResponse:
        if not wants_websocket(request):
            answer.close()
            return say(UNASKED, as_page=False)
        headers = crossing.to_client(answer.headers, cookie=self._cookie)
        headers.update({"Connection": "Upgrade", "Upgrade": "websocket"})
        response = Streamed(status=101, headers=headers)
        await response.prepare(request)
        if request.transport is not None:
            with route.socket_open(request.transport):
                await relay(request, answer)
        return response


def wants_websocket(request: BaseRequest) -> bool:
    """Whether a request asks to become a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def url_of(endpoint: Endpoint, target: str) -> URL:
    """Where a request for `target`, a path with its query as it was sent, goes."""
    return URL(endpoint.origin + target, encoded=True)


def _invite_body(request: BaseRequest, sent: CIMultiDict[str]) -> None:
    """Tell a client that waits for it to send its body; the server is not asked."""
    if sent.pop("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
