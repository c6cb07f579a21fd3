"""What a storm kills, and how what nobody restarts comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.stacks.portal import ROOT, Stack

WORKER = (
    "worker --pool threads --concurrency 4 --without-gossip --without-mingle "
    "--without-heartbeat -l warning -Q celery"
)
# How often each is struck, relative to the others.
PARTS = {
    "web": 4,
    "worker": 6,
    "beat": 1,
    "agent": 1,
    "proxy": 1,
    "postgres": 2,
    "valkey": 2,
    "supervisor": 4,
    "second worker": 3,
    "second beat": 1,
}
Strike = Callable[[float], str]


class Parts:
    """The processes of one stack and two of our own beside them.

    `struck` collects the names of attempts whose supervisor was killed.
    """

    def __init__(self, stack: Stack) -> None:
        self.environment = stack.environment
        self._var = stack.var
        self._ours: dict[str, subprocess.Popen[bytes]] = {}
        self.struck: set[str] = set()

    def strikes(self) -> Mapping[str, Strike]:
        """What kills each; returns what was done, in words."""
        children = ("web", "worker", "beat", "agent", "proxy", "valkey")
        return {
            **{name: self._striker(name) for name in children},
            "postgres": self._kill_postgres,
            "supervisor": self._kill_supervisor,
            "second worker": lambda _choice: self._again("second worker"),
            "second beat": lambda _choice: self._again("second beat"),
        }

    def join(self) -> None:
        """A second worker and a second beat join the stack."""
        for name in ("second worker", "second beat"):
            self._begin(name)

    def leave(self) -> None:
        """They leave."""
        for process in self._ours.values():
            process.kill()
            process.wait(10)
        self._ours.clear()

    def pid_of(self, name: str) -> int | None:
        """The process `up` runs as `name` now."""
        try:
            pid: int = json.loads((self._var / "run" / f"{name}.pid").read_text())["pid"]
        except FileNotFoundError:
            return None
        return pid

    def _striker(self, name: str) -> Strike:
        return lambda _choice: _kill(self.pid_of(name))

    def _kill_postgres(self, _choice: float) -> str:
        try:
            text = (self._var / "postgres" / "cluster" / "postmaster.pid").read_text()
        except FileNotFoundError:
            return "was not running"
        return _kill(int(text.split("\n", 1)[0]), named="postgres")

    def _kill_supervisor(self, choice: float) -> str:
        placements = sorted((self._var / "local" / "attempts").glob("*/placement.json"))
        if not placements:
            return "none ran"
        path = placements[int(choice * len(placements))]
        try:
            pid = json.loads(path.read_text())["supervisor"]["pid"]
        except FileNotFoundError:
            return "it had just ended"
        # Before the blow: whoever looks at the attempt after it must find it here.
        self.struck.add(path.parent.name)
        return f"{path.parent.name} {_kill(pid, named='python')}"

    def _again(self, name: str) -> str:
        if name not in self._ours:
            return "was not running"
        self._ours[name].kill()
        self._ours[name].wait(10)
        self._begin(name)
        return "killed"

    def _begin(self, name: str) -> None:
        schedule = str(self._var / "run" / "second-schedule")
        beat = ["beat", "-l", "warning", "-s", schedule, "--pidfile="]
        words = WORKER.split() if name == "second worker" else beat
        log = self._var / "logs" / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            self._ours[name] = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "portal", *words],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def ghosts(self, runs: set[str]) -> list[str]:
        """Processes, placements and cgroups of runs that are over."""
        found = [
            f"process {process.pid}: {' '.join(process.info['cmdline'] or [])[:120]}"
            for process in psutil.process_iter(["cmdline"])
            if _is_of(process, runs, self._var)
        ]
        found += [str(path) for path in self._var.glob("local/attempts/*/placement.json")]
        names = {f"fg-{run.removeprefix('job_')}" for run in runs}
        for folder in Path("/sys/fs/cgroup").glob("**/*fg-*"):
            if any(name in folder.name for name in names):
                found.append(str(folder))
        return found


def _is_of(process: psutil.Process, runs: set[str], var: Path) -> bool:
    command = " ".join(process.info["cmdline"] or [])
    if "supervisor.py" in command and str(var) in command:
        return True
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return False
    return any(
        pair.startswith("FASTGPU_RUN_ID=") and pair.partition("=")[2] in runs
        for pair in environ.split("\0")
    )


def _kill(pid: int | None, *, named: str = "") -> str:
    if pid is None:
        return "was not running"
    try:
        if named and named not in psutil.Process(pid).name():
            return "was not running"
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return "was not running"
    return f"killed (process {pid})"
