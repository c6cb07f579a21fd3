"""A shell behind WebSockets, in the protocol of Jupyter's terminals, which is terminado's.

`GET /api` says that it is there. `/terminals/websocket/1` takes JSON arrays, `["stdin", text]` and
`["set_size", rows, columns, ...]`, and sends `["setup", {}]`, `["stdout", text]` and, when the
shell has ended, `["disconnect", 1]`. Whoever connects then gets a new shell.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from socket import socket
from typing import Any

from terminado import NamedTermManager, TermSocket
from terminado.management import PtyWithClients
from tornado.concurrent import Future
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import Application, HTTPError, RequestHandler

SHELL = "/bin/bash"
LOOKS = 20
"""How often it is looked whether to end, in the time for which it lingers."""
PING_SECONDS = 30
BEHIND_BYTES = 1 << 20
"""With more than this on its way to one browser, the shell has to wait."""


class Terminals(NamedTermManager):
    """The shells, of which there is one. It is read only as fast as every browser takes it."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(shell_command=[SHELL], max_terminals=1)
        self._env = env
        self._held: set[int] = set()
        self.used_at = time.monotonic()

    def make_term_env(self, **options: Any) -> dict[str, str]:
        """The attempt's variables and no others."""
        made: dict[str, str] = super().make_term_env(**options)
        return self._env | {key: made[key] for key in ("TERM", "COLUMNS", "LINES")}

    def new_terminal(self, **options: Any) -> PtyWithClients:
        """A shell where the attempt's command began."""
        return super().new_terminal(cwd=_first_folder(self._env), **options)

    def pty_read(self, fd: int, events: Any = None) -> None:
        """Pass on what it prints."""
        terminal = self.ptys_by_fd[fd]
        super().pty_read(fd, events)
        if fd in self.ptys_by_fd and _is_behind(terminal):
            IOLoop.current().remove_handler(fd)
            self._held.add(fd)

    def go_on(self, terminal: PtyWithClients) -> None:
        """Read it again, if the last of its browsers has caught up."""
        fd = terminal.ptyproc.fd
        if fd in self._held and not _is_behind(terminal):
            self._held.remove(fd)
            IOLoop.current().add_handler(fd, self.pty_read, IOLoop.READ)

    def is_over(self, linger_seconds: float) -> bool:
        """Whether nobody has looked for so long, and no shell has anything to do."""
        now = time.monotonic()
        if any(terminal.clients for terminal in self.terminals.values()):
            self.used_at = now
        if now - self.used_at < linger_seconds:
            return False
        return not any(_has_children(shell.ptyproc.pid) for shell in self.terminals.values())


class Guarded(RequestHandler):
    """Answers nobody who does not know the token."""

    def prepare(self) -> None:
        """Before anything else."""
        given = self.request.headers.get("Authorization", "")
        wanted = f"token {self.settings['token']}"
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise HTTPError(403)


class Api(Guarded):
    """That there is somebody."""

    def get(self) -> None:
        """An answer."""
        self.write({"terminals": ["1"]})


class Browser(Guarded, TermSocket):
    """One browser that looks at the shell."""

    behind = 0

    def check_origin(self, origin: str) -> bool:
        """The proxy looks at that; a page elsewhere does not know the token."""
        return True

    def send_json_message(self, content: Any) -> None:
        """Send, and know how much is on its way."""
        message = json.dumps(content)
        terminal, size = self.terminal, len(message)

        def sent(future: Future[None]) -> None:
            # Without this look Python would complain that nobody saw a closed connection.
            future.exception()
            self.behind -= size
            if terminal is not None:
                self.term_manager.go_on(terminal)

        self.behind += size
        self.write_message(message).add_done_callback(sent)

    def on_close(self) -> None:
        """Nobody waits for it any more."""
        terminal, self.behind = self.terminal, 0
        super().on_close()
        self.term_manager.used_at = time.monotonic()
        if terminal is not None:
            self.term_manager.go_on(terminal)


def serve(
    sockets: Iterable[socket], *, token: str, env: dict[str, str], linger_seconds: float
) -> None:
    """Answer at bound `sockets` until it is over; see Terminals.is_over."""
    terminals = Terminals(env)
    routes = [
        ("/api", Api),
        ("/terminals/websocket/(1)", Browser, {"term_manager": terminals}),
    ]
    server = HTTPServer(Application(routes, token=token, websocket_ping_interval=PING_SECONDS))
    loop = IOLoop.current()

    def look() -> None:
        if terminals.is_over(linger_seconds):
            loop.stop()

    server.add_sockets(sockets)
    PeriodicCallback(look, 1000 * linger_seconds / LOOKS).start()
    loop.start()


def _is_behind(terminal: PtyWithClients) -> bool:
    return any(client.behind > BEHIND_BYTES for client in terminal.clients)


def _has_children(pid: int) -> bool:
    """Whether the shell runs something; also where the kernel does not tell."""
    try:
        return bool(Path(f"/proc/{pid}/task/{pid}/children").read_bytes())
    except FileNotFoundError:
        return Path(f"/proc/{pid}").exists()


def _first_folder(env: dict[str, str]) -> str:
    wished = (env.get("FASTGPU_WORKSPACE"), env.get("HOME"))
    return next((path for path in wished if path and os.path.isdir(path)), "/")  # noqa: PTH112
