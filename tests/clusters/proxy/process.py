"""The proxy as a process of its own, as a test starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[3]
START_SECONDS = 20.0
TOKEN = "proxy-token-of-the-tests"


@dataclass
class Proxy:
    """A running `python -m clusters.proxy`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def host(self, name: str) -> str:
        """The Host header of an app's own pages."""
        return f"{name}.apps.localhost:{self.port}"

    def origin(self, name: str) -> str:
        """The origin of an app's own pages."""
        return f"http://{self.host(name)}"

    def health(self) -> dict[str, Any]:
        """What /healthz says."""
        found: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=30, verify=False).json()
        return found

    def connections(self) -> dict[str, int]:
        """What the portal is told; nothing while one of several processes is away."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(f"{self.url}/connections", headers=headers, timeout=30, verify=False)
        assert answer.status_code in {200, 503}, answer.text
        found: dict[str, int] = answer.json() if answer.status_code == 200 else {}
        return found

    def memory_bytes(self) -> int:
        """What it holds now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and wait; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


def start(
    log: Path,
    database_url: str,
    settings: Mapping[str, str] | None = None,
    *,
    command: Sequence[str] = ("-m", "clusters.proxy"),
) -> Proxy:
    """Start one and wait until it listens. Its database may be away."""
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "PORT": str(port + 1),
        "PROXY_PORT": str(port),
        "HOST": "127.0.0.1",
        "FASTGPU_PROXY_TOKEN": TOKEN,
        **(settings or {}),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    proxy = Proxy(process, port, log)
    wait_for(lambda: _answers(proxy), START_SECONDS, lambda: log.read_text(errors="replace"))
    return proxy


@contextmanager
def running(
    log: Path,
    database_url: str,
    settings: Mapping[str, str] | None = None,
    *,
    command: Sequence[str] = ("-m", "clusters.proxy"),
) -> Iterator[Proxy]:
    """One for the length of the block."""
    proxy = start(log, database_url, settings, command=command)
    try:
        yield proxy
    finally:
        proxy.stop()


def wait_for(holds: object, seconds: float = 20.0, why: object = "it did not come to hold") -> None:
    """Until `holds()` is true; AssertionError with `why` when that takes too long."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(why() if callable(why) else why)
        time.sleep(0.01)


def _answers(proxy: Proxy) -> bool:
    if proxy.process.poll() is not None:
        raise AssertionError(proxy.log.read_text(errors="replace"))
    try:
        proxy.health()
    except httpx.HTTPError:
        return False
    return True
