"""ASGI entry: HTTP to Django, WebSockets to the consumers, only from our own origin."""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from portal.lib.streamed import BodyWanted
from portal.transfers import Transfers, is_streamed


class Handler(ASGIHandler):
    """Django's, with the way from the first middleware to the view and back in one thread.

    All our middleware and views are synchronous: between an asynchronous handler and them each
    request would change threads four times. The threads are few and stay: more would only contend
    for the interpreter, and each new one would connect to the cache anew. Answers are still
    streamed by the event loop.
    """

    def __init__(self) -> None:
        """Load the middleware a second time, as for WSGI."""
        super().__init__()
        self.load_middleware(is_async=False)
        # For each request a thread of its own, only to tidy a connection that it has not: `_answer`
        # does so for the thread that has.
        request_started.disconnect(close_old_connections)
        request_started.disconnect(reset_queries)
        self.threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="request")
        self.transfers = Transfers()

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Django's, but for bodies that are taken as they come."""
        if is_streamed(scope):
            await self._handle_streamed(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def _handle_streamed(self, scope: Any, receive: Any, send: Any) -> None:
        set_script_prefix(get_script_prefix(scope))
        await request_started.asend(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, io.BytesIO())
        if request is None:
            assert refusal is not None  # noqa: S101  # one of the two is there
            await self.send_response(refusal, send)
            return
        request.body_follows = True  # type: ignore[attr-defined]
        response = await self.run_get_response(request)
        answer: HttpResponseBase | None = response
        if isinstance(response, BodyWanted):
            answer = await self.transfers.take(response, receive)
        if answer is not None:
            await self.send_response(answer, send)
        response.close()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Middleware and view, in the next thread that is free."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await loop.run_in_executor(self.threads, context.run, self._answer, request)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        reset_queries()
        try:
            return self.get_response(request)
        finally:
            close_old_connections()


django.setup(set_prefix=False)
django_application = Handler()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from clusters.routing import websocket_urlpatterns  # noqa: E402

routes: Any = websocket_urlpatterns  # Channels' stubs have a URL pattern of their own
application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
    }
)
