"""A whole FastGPU of its own for a test: `manage.py up` on free ports in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 150
# Prepared environments are built once for all stacks, not by each of them.
ENVIRONMENTS = Path("/var/tmp/fastgpu-tests-environments")
# What the suite set for itself must not reach a stack of its own.
_OURS = (
    "DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE",
    "SECRET_KEY", "FASTGPU_AGENT_TOKEN", "FASTGPU_PROXY_TOKEN", "DJANGO_SETTINGS_MODULE",
)  # fmt: skip


@dataclass
class Stack:
    """A running `manage.py up`."""

    process: subprocess.Popen[bytes]
    port: int
    var: Path
    log: Path

    @property
    def url(self) -> str:
        """Where the portal answers."""
        return f"http://localhost:{self.port}"

    @property
    def demo(self) -> dict[str, Any]:
        """What demo.json says."""
        facts: dict[str, Any] = json.loads((self.var / "demo.json").read_text())
        return facts

    def pid_of(self, name: str) -> int:
        """The process id of a child of `up`, by the words of its command line."""
        words = {
            "web": "portal.asgi",
            "worker": "celery\0-A\0portal\0worker",
            "proxy": "-m\0clusters.proxy",
        }[name]
        for line in subprocess.run(
            ["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True
        ).stdout.splitlines():
            pid = int(line.split()[0])
            if self._belongs(pid) and words in _cmdline(pid):
                return pid
        raise LookupError(name)

    @property
    def environment(self) -> dict[str, str]:
        """What the web server was given, for a process that joins the stack."""
        environ = Path(f"/proc/{self.pid_of('web')}/environ").read_bytes().decode()
        return dict(pair.split("=", 1) for pair in environ.split("\0") if "=" in pair)

    @property
    def database_url(self) -> str:
        """DATABASE_URL as the web server was given it."""
        return self.environment["DATABASE_URL"]

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py as this stack would; its standard output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _belongs(self, pid: int) -> bool:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
        except OSError:
            return False
        return f"VAR_DIR={self.var}" in environ.split("\0")

    def wait_ready(self) -> None:
        """Until the ready line stands in the log; fails with the log's end."""
        deadline = time.monotonic() + READY_SECONDS
        words = f"FastGPU is ready at {self.url}"
        while words not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.log.read_text(errors="replace")[-5000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """Ctrl-C, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def start(
    var: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Stack:
    """Start `manage.py up` with its data in `var` and these settings; wait until it is ready."""
    var.mkdir(parents=True, exist_ok=True)
    log = var.with_suffix(".log")
    chosen = port or free_port()
    environment = {key: value for key, value in os.environ.items() if key not in _OURS}
    environment |= {"PORT": str(chosen), "VAR_DIR": str(var), "PYTHONUNBUFFERED": "1"}
    environment |= {"ENVIRONMENTS_DIR": str(ENVIRONMENTS)}
    environment |= settings or {}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = Stack(process, chosen, var, log)
    try:
        stack.wait_ready()
    except BaseException:
        stack.stop()
        raise
    return stack


@contextmanager
def running(var: Path, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack for the length of the block."""
    stack = start(var, settings=settings)
    try:
        yield stack
    finally:
        stack.stop()
