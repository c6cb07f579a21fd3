"""An engine whose truth is a file, so that it outlives every process that talks to it.

What an attempt does is written in its command, a JSON list with one entry for each attempt (the
last counts for all that follow): `waits` and `runs` in seconds, `ends` (an EndReason), `exit_code`.
Its clock is `portal.lib.clock`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from clusters.backends.base import (
    Backend,
    EndReason,
    GpuDescription,
    Handle,
    Health,
    LaunchSpec,
    LogChunk,
    NodeDescription,
    Observation,
    OutputFile,
    Phase,
    Survey,
    Wait,
    WaitCause,
)
from portal.lib import clock
from tests.chaos.steps import reach

WAIT = Wait(WaitCause.TURN, "Others are ahead of it.")


@dataclass(frozen=True, slots=True)
class Execution:
    """One real run of a command. `ended_at` may lie ahead; one stopped in the queue never began."""

    name: str
    run_id: str
    began_at: datetime | None
    ended_at: datetime
    reason: EndReason
    exit_code: int

    def phase(self, at: datetime) -> Phase:
        """Where it stands at `at`."""
        if at >= self.ended_at:
            return Phase.ENDED
        waits = self.began_at is None or at < self.began_at
        return Phase.PENDING if waits else Phase.RUNNING


class FileEngine(Backend):
    """Starts what it is given at once. One machine of four GPUs.

    Without `adopts` a name that is there already is run again: an engine nobody may use.
    """

    def __init__(self, root: str, *, adopts: bool = True) -> None:
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)
        self._adopts = adopts

    def submit(self, spec: LaunchSpec) -> Observation:
        reach("before submit")
        with self._turn():
            if not self._adopts or not self._of(spec.external_name):
                self._write(spec.external_name, "begin", run=spec.run_id, **_entry_of(spec))
        reach("after submit")
        return self._look()[spec.external_name]

    def observe(self, handles: Iterable[Handle]) -> Survey:
        reach("before observe")
        asked = {handle.external_name for handle in handles}
        there = self._look()
        live = {name for name, seen in there.items() if seen.phase != Phase.ENDED}
        survey = Survey(
            clock.now(),
            {name: there[name] for name in asked & there.keys()},
            tuple(sorted(live - asked)),
        )
        reach("after observe")
        return survey

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        reach("before stop")
        with self._turn():
            if self._of(external_name):
                self._write(external_name, "stop")
        reach("after stop")

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        return LogChunk(b"", offset, offset, complete=True)

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        return []

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        raise FileNotFoundError(path)

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        gpus = tuple(
            GpuDescription(f"GPU-{self._root.name}-{i}", i, "NVIDIA A100", 40 * 1024**3, True)
            for i in range(4)
        )
        return [NodeDescription(f"{self._root.name}-1", gpus)]

    def health(self, options: Mapping[str, str]) -> Health:
        return Health(may_start=True, isolation="none", detail="")

    def executions(self) -> list[Execution]:
        """Everything that ever ran here, each run of a command by itself."""
        lines = self._lines()
        stops: dict[str, datetime] = {}
        for line in lines:
            if line["deed"] == "stop":
                stops.setdefault(line["name"], datetime.fromisoformat(line["at"]))
        return [
            _execution(line, stops.get(line["name"])) for line in lines if line["deed"] == "begin"
        ]

    def _look(self) -> dict[str, Observation]:
        at = clock.now()
        return {one.name: _observation(one, at, self._root.name) for one in self.executions()}

    def _of(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self._lines() if line["name"] == name]

    @property
    def _journal(self) -> Path:
        return self._root / "journal"

    def _lines(self) -> list[dict[str, Any]]:
        if not self._journal.exists():
            return []
        return [json.loads(line) for line in self._journal.read_text().splitlines()]

    def _write(self, name: str, deed: str, **facts: Any) -> None:
        line = {"deed": deed, "name": name, "at": clock.now().isoformat(), **facts}
        descriptor = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with (self._root / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class QueueingFileEngine(FileEngine):
    """The same, scheduling by itself."""

    queues = True


def engines_below(root: Path) -> dict[str, dict[str, object]]:
    """`settings.BACKENDS` with every engine of this module."""
    module = "tests.chaos.engine"
    return {
        "plain": {"factory": f"{module}.FileEngine", "root": str(root / "plain")},
        "queueing": {"factory": f"{module}.QueueingFileEngine", "root": str(root / "queueing")},
        "careless": {
            "factory": f"{module}.FileEngine",
            "root": str(root / "careless"),
            "adopts": False,
        },
    }


def _entry_of(spec: LaunchSpec) -> dict[str, Any]:
    script: list[dict[str, Any]] = json.loads(spec.command)
    return script[min(spec.attempt_number, len(script)) - 1]


def _execution(line: dict[str, Any], stop: datetime | None) -> Execution:
    began = datetime.fromisoformat(line["at"]) + timedelta(seconds=line.get("waits", 0))
    ended = began + timedelta(seconds=line["runs"])
    reason, exit_code = EndReason(line["ends"]), int(line.get("exit_code", 0))
    name, run_id = line["name"], line["run"]
    if stop is None or stop >= ended:
        return Execution(name, run_id, began, ended, reason, exit_code)
    return Execution(name, run_id, began if began <= stop else None, stop, EndReason.STOPPED, 143)


def _observation(one: Execution, at: datetime, node: str) -> Observation:
    phase = one.phase(at)
    if phase is Phase.PENDING:
        return Observation(one.name, phase, wait=WAIT)
    seen = Observation(one.name, phase, started_at=one.began_at, node=node)
    if phase is Phase.RUNNING:
        return seen
    return Observation(
        one.name,
        phase,
        started_at=one.began_at,
        ended_at=one.ended_at,
        exit_code=one.exit_code,
        reason=one.reason,
        node=node,
    )
