"""A WebSocket client that speaks ASGI to the portal, without a server between."""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.test import Client

from accounts.models import User
from portal.asgi import application

communicator: Any = ApplicationCommunicator  # asgiref leaves it untyped


class Socket:
    """One connection; `is_open`, else `code` says how it was refused."""

    def __init__(self, path: str, *, cookie: str = "", origin: str = "http://localhost") -> None:
        path, _, query = path.partition("?")
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [*headers, (b"cookie", cookie.encode())],
            "subprotocols": [],
        }
        self._asgi = communicator(application, scope)
        self.is_open = False
        self.code = 0

    @classmethod
    async def opened(cls, path: str, user: User | None) -> Socket:
        """Connect, signed in as `user`."""
        client = Client()
        if user is not None:
            await database_sync_to_async(client.force_login)(user)
        cookie = "; ".join(f"{key}={value.value}" for key, value in client.cookies.items())
        socket = cls(path, cookie=cookie)
        await socket._asgi.send_input({"type": "websocket.connect"})
        answer = await socket._asgi.receive_output(timeout=30)
        socket.is_open = answer["type"] == "websocket.accept"
        socket.code = int(answer.get("code", 0))
        return socket

    async def take(self, kind: str) -> dict[str, Any]:
        """The data of the next message of this kind; fails when the socket closes first."""
        while True:
            message = await self.next()
            if message["kind"] == kind:
                data: dict[str, Any] = message["data"]
                return data

    async def next(self) -> dict[str, Any]:
        """The next message."""
        sent = await self._asgi.receive_output(timeout=30)
        assert sent["type"] == "websocket.send", sent
        message: dict[str, Any] = json.loads(sent["text"])
        assert message["v"] == 1
        return message

    async def is_quiet(self) -> bool:
        """Whether nothing comes for half a second."""
        return bool(await self._asgi.receive_nothing(timeout=0.5))

    async def send(self, text: str) -> None:
        """Send a message."""
        await self._asgi.send_input({"type": "websocket.receive", "text": text})

    async def closed_with(self) -> int:
        """The code the other side closes with."""
        while True:
            sent = await self._asgi.receive_output(timeout=30)
            if sent["type"] == "websocket.close":
                return int(sent["code"])

    async def close(self) -> None:
        """Go away."""
        await self._asgi.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._asgi.wait(timeout=30)
