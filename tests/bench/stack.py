"""A whole FastGPU in a temporary folder, on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]
FIRST_PORT = 8400
PORTS_EACH = 3
START_SECONDS = 180.0
STOP_SECONDS = 60.0


class Stack:
    """`manage.py up` on an empty VAR_DIR. Use as a context manager; ends what it started."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fastgpu-bench-"))
        self.var = self.folder / "var"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        # Measured work runs in the bare system, so nothing is downloaded while we measure.
        (self.var / "environments" / "python-data").mkdir(parents=True)

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> float:
        """Start and wait until it says that it is ready; returns the seconds that took."""
        said = self.folder / "said"
        environment = os.environ | {"VAR_DIR": str(self.var), "PORT": str(self.port)}
        for name in ("DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "PROXY_PORT", "SITE_URL"):
            environment.pop(name, None)
        began = time.monotonic()
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while b"FastGPU is ready" not in said.read_bytes():
            if self._process.poll() is not None or time.monotonic() - began > START_SECONDS:
                words = said.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"FastGPU did not become ready:\n{words}")
            time.sleep(0.01)
        return time.monotonic() - began

    def stop(self) -> None:
        """End it as Ctrl-C does, and after a minute by force."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        if self._process is None:
            raise RuntimeError("FastGPU is not running")
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def demo(self) -> dict[str, str]:
        """How to get in."""
        facts: dict[str, str] = json.loads((self.var / "demo.json").read_text())
        return facts

    def api(self) -> httpx.Client:
        """A client with the demo owner's key."""
        headers = {"Authorization": f"Bearer {self.demo()['owner_api_key']}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30)


def launch(api: httpx.Client, name: str, command: str, *, seconds: int) -> str:
    """POST a job on one GPU in the bare system; returns its id."""
    body = {
        "name": name,
        "pool": "a100",
        "gpus": 1,
        "environment": "system",
        "command": command,
        "env": {},
        "time_limit_seconds": seconds,
    }
    answer = api.post("/jobs", json=body)
    if answer.status_code != 201:
        raise RuntimeError(f"the job was refused: {answer.text[:500]}")
    return str(answer.json()["id"])


def wait_for_end(api: httpx.Client, job: str, seconds: float = 60.0) -> dict[str, Any]:
    """The job once it has ended; RuntimeError when it does not, or not well."""
    deadline = time.monotonic() + seconds
    while True:
        state: dict[str, Any] = api.get(f"/jobs/{job}").json()
        if state["status"] == "succeeded":
            return state
        if state["status"] in {"failed", "cancelled"} or time.monotonic() > deadline:
            raise RuntimeError(f"the job did not succeed: {state}")
        time.sleep(0.05)


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + 300, PORTS_EACH):
        if all(_is_free(port + offset) for offset in range(PORTS_EACH)):
            return port
    raise RuntimeError(f"no free ports from {FIRST_PORT} on")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
