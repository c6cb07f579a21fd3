"""The backend contract: what FastGPU asks of an engine that runs attempts.

A backend owns no truth. It is told what to run under a deterministic external name and
answers what it sees. Every method may be called again with the same arguments after a
crash, and none is called inside a database transaction.

`Backend` is what every engine must do. What only some can do stands in a capability of its
own (`MultiNode`, `Requeue`, ...), which the control loop asks for with `isinstance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class ReadFolder:
    """A folder of this machine, `host`, that a sandbox shows read-only as `inside`."""

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

    `volume` names one of the engine's volumes (see `Volumes`), mounted at /workspace and the
    folder the command starts in. `serves`: the command is a server (see `Serving`). `reads` are
    folders shown read-only, for engines of the portal's own machine.
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


class MultiNode:
    """Takes specs with `nodes > 1`: the command runs once on each node, all at once.

    The process finds what torchrun needs: MASTER_ADDR, MASTER_PORT, NNODES, NODE_RANK and the
    same as PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR, PET_MASTER_PORT.
    """


class Requeue:
    """Puts attempts back into its own queue when a node is lost or somebody goes first.

    The attempt is then observed as ended (NODE_LOST, PREEMPTED). Submitting the next one with
    `previous_name` takes the queued work over under its new name and lets it start at once.
    """


class Pause(ABC):
    """Can hold an attempt still and let it go on. GPUs and memory stay taken."""

    @abstractmethod
    def pause(self, external_name: str) -> None:
        """Freeze every process of the attempt. Idempotent; unknown or ended: nothing happens."""

    @abstractmethod
    def resume(self, external_name: str) -> None:
        """Let a paused attempt go on. Idempotent; unknown or ended: nothing happens."""


class Drain(ABC):
    """Can keep new work off a node while what runs there goes on."""

    @abstractmethod
    def drain(self, node: str, reason: str) -> None:
        """Give `node` no new work, for a reason people see. Idempotent."""

    @abstractmethod
    def undrain(self, node: str) -> None:
        """Let `node` take work again. Idempotent."""


class Priorities(ABC):
    """Can reorder what waits in its queue."""

    @abstractmethod
    def set_priority(self, external_name: str, priority: int) -> None:
        """Of two that wait, the one with the higher number goes first."""


class Arrays(ABC):
    """Can run many copies of one spec from one call."""

    @abstractmethod
    def submit_array(self, spec: LaunchSpec, *, size: int, at_once: int) -> Sequence[Observation]:
        """Run `spec` as `size` tasks (FASTGPU_ARRAY_INDEX 0..size-1), `at_once` at a time.

        Task `i` is known by the external name `<external_name>.<i>`. Raises as `submit` does.
        """


@dataclass(frozen=True, slots=True)
class Reservation:
    """Nodes set aside for a team for the half-open time `[starts_at, ends_at)`."""

    name: str
    nodes: tuple[str, ...]
    team_number: int
    starts_at: datetime
    ends_at: datetime


class Reservations(ABC):
    """Can set nodes aside for a team for a time."""

    @abstractmethod
    def reserve(self, reservation: Reservation) -> None:
        """Set the nodes aside. Idempotent by name. Raises LaunchRefused where they are taken."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Give reserved nodes back. Idempotent."""

    @abstractmethod
    def reservations(self) -> Sequence[Reservation]:
        """What is set aside now, of ours."""


class Serving(ABC):
    """Its attempts can serve HTTP to the proxy.

    The command of a spec that `serves` finds FASTGPU_SERVE_SOCKET, the path of a unix socket to
    listen on, or FASTGPU_SERVE_HOST and FASTGPU_SERVE_FILE: an address to listen on at a port of
    its choice, and a file to write `{"port": N}` to; and FASTGPU_SERVE_TOKEN, which it demands.
    `python -m fastgpu.lab` does all that.
    """

    @abstractmethod
    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        """Where the server of `service` (`lab`, `terminal`, `tensorboard`) is to be reached.

        Nothing need listen there yet. None where it is not known (yet, or any more).
        """

    @abstractmethod
    def open_terminal(self, external_name: str) -> None:
        """Start a terminal server inside a running attempt, as what runs there. Idempotent."""


class Volumes(ABC):
    """Keeps volumes: folders that outlive attempts, below one this machine sees too."""

    @abstractmethod
    def make_volume(self, name: str, *, team_number: int) -> None:
        """Make the folder, owned by whom the team's attempts run as. Idempotent."""

    @abstractmethod
    def volume_path(self, name: str) -> Path:
        """Where the volume lies on this machine. Its content is written by hostile code."""

    @abstractmethod
    def volume_owner(self, team_number: int) -> tuple[int, int] | None:
        """Uid and gid files of the team have there; None where they are the portal's own."""

    @abstractmethod
    def erase_volume(self, name: str) -> None:
        """Delete the folder and all that is in it. Idempotent."""


@dataclass(frozen=True, slots=True)
class StandbyWish:
    """`count` servers of `environment` that have started and wait, running `command`."""

    environment: str
    command: str
    count: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class StandbyState:
    """What stands by of one environment: those that answer, and those that are on their way."""

    environment: str
    ready: int
    starting: int


class Standby(ABC):
    """Can keep servers started ahead: no GPU, no volume, nothing of any team.

    `submit` takes one for a spec that serves the same command in the same environment, and makes
    it that attempt: from outside nothing tells it from one that was started for it.
    """

    @abstractmethod
    def keep_standbys(self, wishes: Sequence[StandbyWish]) -> Sequence[StandbyState]:
        """Start what is missing, end what is too many or of an environment that has changed."""


class Folders(ABC):
    """Keeps the files of its attempts where this machine sees them."""

    @abstractmethod
    def folders_of(self, external_name: str) -> Mapping[str, Path]:
        """`home`, `checkpoints` and, where mounted, `workspace` of an attempt, as far as there."""
