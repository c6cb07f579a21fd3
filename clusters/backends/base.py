"""The backend contract: what FastGPU asks of an engine that runs attempts.

A backend owns no truth. It is told what to run under a deterministic external name and
answers what it sees. Every method may be called again with the same arguments after a
crash, and none is called inside a database transaction.

`Backend` is what every engine must do. What only some can do stands in a capability of its
own (capabilities.py), which the control loop asks for with `isinstance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, ClassVar

REQUEUE_EXIT_CODE = 75
"""An attempt that ends with it asks to be run again (EX_TEMPFAIL of sysexits.h)."""


class EndReason(StrEnum):
    """Why an attempt ended, as the engine knows it."""

    COMPLETED = "completed"
    USER_ERROR = "user_error"
    STOPPED = "stopped"
    TIME_LIMIT = "time_limit"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    START_FAILED = "start_failed"
    IMAGE_MISSING = "image_missing"
    QUOTA = "quota"
    NODE_LOST = "node_lost"
    GPU_FAILED = "gpu_failed"
    PREEMPTED = "preempted"


class BackendError(Exception):
    """Base of everything a backend raises on purpose."""


class BackendUnavailable(BackendError):
    """The engine did not answer: the state of its attempts is unknown, not failed."""


class LaunchRefused(BackendError):
    """The engine will never run this spec as it stands; the message is for the user."""

    def __init__(self, message: str, *, reason: EndReason = EndReason.START_FAILED) -> None:
        """`reason` is what the attempt ends with."""
        super().__init__(message)
        self.reason = reason


class Phase(StrEnum):
    """Where an attempt stands in the engine. `PENDING`: it waits in the engine's own queue."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class WaitCause(StrEnum):
    """Why an engine has not started an attempt yet."""

    RESOURCES = "resources"
    TURN = "turn"
    QUOTA = "quota"
    HELD = "held"
    DEPENDENCY = "dependency"
    LATER = "later"
    NODES_AWAY = "nodes_away"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why it waits: `words` one sentence, `advice` what the user can do (may be empty)."""

    cause: WaitCause
    words: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of one attempt on each of its nodes."""

    memory_bytes: int
    pids: int
    cpu_cores: float
    disk_bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server of an attempt listens, as the proxy's machine reaches it.

    Either `socket`, the path of a unix socket in a folder that hostile code writes: it may be
    connected to only through `clusters.backends.dial`, which follows no links and takes no socket
    but one of `owner_uid`. Or `host` and `port`. `token`: what it wants as `Authorization: token`.
    """

    socket: str = ""
    owner_uid: int = -1
    host: str = ""
    port: int = 0
    token: str = ""

    @property
    def origin(self) -> str:
        """The scheme and authority that requests to it are addressed with."""
        if self.socket:
            return "http://workload"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ReadFolder:
    """A folder of this machine, `host`, that a sandbox shows read-only as `inside`.

    `host` is a path without links: attempts may write on the way there, so none is followed.
    """

    host: str
    inside: str


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything an engine needs to run one attempt.

    `team_number` is a small positive integer, stable per team: backends map it to an
    unprivileged user. `command` is run by `bash -c` in the private home, on each of `nodes`
    nodes, which share `gpus` equally. `gpu_uuids` are the GPUs the portal allotted; empty
    where the engine places by itself. `previous_name` is the attempt before this one: an
    engine that has put that one back into its own queue hands it over instead of starting
    another. `options` are the pool's, as `Backend.pool_options` names them.

    `volume` names one of the engine's volumes (see `Volumes`), the folder the command starts in:
    mounted at /workspace where the engine can mount, and named by FASTGPU_WORKSPACE everywhere.
    `serves`: the command is a server (see `Serving`). `reads` are folders shown read-only, and
    `runs_as` is the uid that may read them where that is not the team's own, both for engines of
    the portal's own machine.
    """

    external_name: str
    run_id: str
    attempt_number: int
    team_number: int
    gpus: int
    gpu_uuids: tuple[str, ...]
    environment: str
    command: str
    time_limit_seconds: int
    grace_seconds: int
    network: bool
    limits: Limits
    nodes: int = 1
    previous_name: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    volume: str = ""
    serves: bool = False
    reads: tuple[ReadFolder, ...] = ()
    runs_as: int | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """An attempt the portal asks after. `engine_id` and `submitted_at` bound a search for it."""

    external_name: str
    engine_id: str = ""
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What the engine says of one attempt, with the engine's own times (UTC).

    `engine_id` is the engine's own number for it, for people and for searches; it is never
    trusted to be unique over time. `wait` is there while it is pending.
    """

    external_name: str
    phase: Phase
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: EndReason | None = None
    detail: str = ""
    node: str = ""
    engine_id: str = ""
    wait: Wait | None = None
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at an engine.

    `taken_at` is no later than any fact in it. `seen` holds the attempts asked after that the
    engine knows; absent = not there. `strays` are external names of ours it has besides.
    """

    taken_at: datetime
    seen: Mapping[str, Observation]
    strays: tuple[str, ...] = ()


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
    """One machine of a pool with its GPUs.

    `problem` says why it takes no new work, "" where it does. `gpus_in_use` is the engine's
    own count, None where the portal allots the GPUs and knows better.
    """

    name: str
    gpus: tuple[GpuDescription, ...]
    problem: str = ""
    gpus_in_use: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether new work may be started, and why not, in words for the operator.

    `environments` are the slugs of what work can run in now; None where the engine cannot tell.
    """

    may_start: bool
    isolation: str
    detail: str
    environments: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PoolOption:
    """A setting of a pool that only its engine understands, asked for in the console."""

    name: str
    label: str
    help: str
    pattern: str = r"[A-Za-z0-9_.,:-]*"
    default: str = ""
    is_required: bool = False


class Backend(ABC):
    """An engine that runs attempts. All methods block; all are safe to repeat."""

    queues: ClassVar[bool] = False
    """Whether the engine schedules: it is handed all work at once and picks GPUs by itself."""
    pool_options: ClassVar[tuple[PoolOption, ...]] = ()

    @abstractmethod
    def submit(self, spec: LaunchSpec) -> Observation:
        """Run `spec`, or adopt what already carries its external name.

        Raises LaunchRefused when it can never run, BackendUnavailable when the engine
        does not answer (the caller submits again later, under the same name).
        """

    @abstractmethod
    def observe(self, handles: Iterable[Handle]) -> Survey:
        """State of every attempt asked after that the engine knows, in one bounded call.

        However many attempts: never one call each. Raises BackendUnavailable when the engine
        does not answer, or answers what cannot be trusted to be whole.
        """

    @abstractmethod
    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        """Ask the attempt to end: SIGTERM now, SIGKILL after `grace_seconds`. Idempotent.

        One that waits in the engine's queue leaves it. Raises BackendUnavailable.
        """

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
    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        """Nodes and GPUs of a pool with these options, as the engine has them now."""

    @abstractmethod
    def health(self, options: Mapping[str, str]) -> Health:
        """Whether the engine can start work in such a pool, checked now."""
