"""A whole FastGPU in a temporary folder, on ports of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from tests.ports import free_port
from tests.stacks import portal


class Stack:
    """`manage.py up` on an empty VAR_DIR. Use as a context manager; ends what it started."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fastgpu-bench-"))
        self.var = self.folder / "var"
        self.environments = self.var / "environments"
        """What is built for other stacks, and what a benchmark adds."""
        self._settings = {
            "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
            "ENVIRONMENTS_DIR": str(self.environments),
            **(settings or {}),
        }
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._running: portal.Stack | None = None
        self._database: psycopg.Connection[tuple[Any, ...]] | None = None

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> float:
        """Start and wait until it says that it is ready; returns the seconds that took."""
        self._link_environments()
        began = time.monotonic()
        self._running = portal.start(self.var, port=self.port, settings=self._settings)
        return time.monotonic() - began

    def _link_environments(self) -> None:
        self.environments.mkdir(parents=True, exist_ok=True)
        for built in portal.ENVIRONMENTS.glob("*/bin/python"):
            here = self.environments / built.parents[1].name
            if not here.is_symlink():
                here.symlink_to(built.parents[1])

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._running is not None:
            self._running.stop()
            self._running = None

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        top = psutil.Process(self._now().process.pid)
        return [top, *top.children(recursive=True)]

    def pid_of(self, part: str) -> int:
        """The process id of a part, as `up` names it."""
        return self._now().pid_of(part)

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of the stack's own database."""
        if self._database is None:
            self._database = psycopg.connect(self._now().database_url, autocommit=True)
        return self._database.execute(question.encode()).fetchall()

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py in this stack."""
        return self._now().manage(*arguments)

    def seed(self, *arguments: str) -> list[str]:
        """Run `tests.bench.seed` in this stack; returns the lines it prints."""
        return self._python("tests.bench.seed", *arguments).split()

    def seconds_of_tick(self, engine: str) -> float:
        """Run `tests.bench.one_tick` in this stack."""
        return float(self._python("tests.bench.one_tick", engine))

    def seconds_of_metering(self) -> tuple[float, float, float]:
        """Run `tests.bench.one_metering` in this stack: a tick, bare SQL, a balance read."""
        ours, bare, read = self._python("tests.bench.one_metering").split()
        return float(ours), float(bare), float(read)

    def seconds_of_closing(self) -> tuple[float, float, float]:
        """Run `tests.bench.one_closing` in this stack: ours, bare SQL, a PDF."""
        ours, bare, pdf = self._python("tests.bench.one_closing").split()
        return float(ours), float(bare), float(pdf)

    def memory_of_csv(self) -> tuple[float, int]:
        """Run `tests.bench.one_csv` in this stack: MiB at the peak, and how many lines it had."""
        mib, lines = self._python("tests.bench.one_csv").split()
        return float(mib), int(lines)

    def _python(self, module: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self._now().environment,
        )
        if done.returncode:
            raise RuntimeError(f"{module}: {done.stderr[-1000:]}")
        return done.stdout

    def _now(self) -> portal.Stack:
        if self._running is None:
            raise RuntimeError("FastGPU is not running")
        return self._running

    def demo(self) -> dict[str, str]:
        """How to get in."""
        facts: dict[str, str] = json.loads((self.var / "demo.json").read_text())
        return facts

    def secret(self, name: str) -> str:
        """A setting of the stack that is told to nobody else."""
        return self._now().environment[name]

    def api(self, key: str = "") -> httpx.Client:
        """A client with this key, else the demo owner's."""
        headers = {"Authorization": f"Bearer {key or self.demo()['owner_api_key']}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30)


def launch(api: httpx.Client, name: str, command: str, *, seconds: int, pool: str = "a100") -> str:
    """POST a job on one GPU in the bare system; returns its id."""
    body = {
        "name": name,
        "pool": pool,
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
