"""The backend contract: what FastGPU asks of an engine that runs attempts.

A backend owns no truth. It is told what to run under a deterministic external name and
answers what it sees. Every method may be called again with the same arguments after a
crash, and none is called inside a database transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO


class BackendError(Exception):
    """Base of everything a backend raises on purpose."""


class BackendUnavailable(BackendError):
    """The engine did not answer: the state of its attempts is unknown, not failed."""


class LaunchRefused(BackendError):
    """The engine will never run this spec as it stands; the message is for the user."""


class Phase(StrEnum):
    """Where an attempt stands in the engine."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why an attempt ended, as the engine knows it."""

    COMPLETED = "completed"
    USER_ERROR = "user_error"
    STOPPED = "stopped"
    TIME_LIMIT = "time_limit"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    START_FAILED = "start_failed"
    NODE_LOST = "node_lost"


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of one attempt on one node."""

    memory_bytes: int
    pids: int
    cpu_cores: float
    disk_bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything an engine needs to run one attempt.

    `team_number` is a small positive integer, stable per team: the local backend maps it
    to an unprivileged uid. `command` is run by `bash -c` in the private home.
    """

    external_name: str
    run_id: str
    attempt_number: int
    team_number: int
    gpu_uuids: tuple[str, ...]
    environment: str
    command: str
    time_limit_seconds: int
    grace_seconds: int
    network: bool
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the engine says of one attempt, with the engine's own times (UTC)."""

    external_name: str
    phase: Phase
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: EndReason | None = None
    detail: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes `[offset, next_offset)` of an attempt's log; `complete` when no more will come."""

    data: bytes
    offset: int
    next_offset: int
    complete: bool


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A regular file the attempt left in its home; `path` is relative, with forward slashes."""

    path: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class GpuDescription:
    """One GPU as the engine reports it. `is_virtual`: a share of CPU that stands in for one."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    is_virtual: bool


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """One machine of a pool with its GPUs."""

    name: str
    gpus: tuple[GpuDescription, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether new work may be started, and why not, in words for the operator."""

    may_start: bool
    isolation: str
    detail: str


class Backend(ABC):
    """An engine that runs attempts. All methods block; all are safe to repeat."""

    @abstractmethod
    def submit(self, spec: LaunchSpec) -> Observation:
        """Run `spec`, or adopt what already carries its external name.

        Raises LaunchRefused when it can never run, BackendUnavailable when the engine
        does not answer (the caller observes before it tries again).
        """

    @abstractmethod
    def observe(self, external_names: Iterable[str]) -> dict[str, Observation]:
        """State of every named attempt the engine knows, in one pass; absent = not there.

        Raises BackendUnavailable when the engine does not answer.
        """

    @abstractmethod
    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        """Ask the attempt to end: SIGTERM now, SIGKILL after `grace_seconds`. Idempotent."""

    @abstractmethod
    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        """At most `limit` bytes of the log from byte `offset` (past the end: empty)."""

    @abstractmethod
    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        """Regular files below the attempt's home, sorted by path; links are not followed."""

    @abstractmethod
    def open_file(self, external_name: str, path: str) -> BinaryIO:
        """Open an output file for reading. Raises FileNotFoundError, also for any escape."""

    @abstractmethod
    def inventory(self) -> Sequence[NodeDescription]:
        """Nodes and GPUs as the engine has them now."""

    @abstractmethod
    def health(self) -> Health:
        """Whether the engine can start work, checked now."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Where the local backend keeps things and how it may isolate; see portal/settings.py."""

    root: Path
    environments: Path
    virtual_gpus: int
    allow_insecure: bool
    uid_base: int
