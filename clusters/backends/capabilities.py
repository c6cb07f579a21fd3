"""What an engine may be able to do besides; the portal asks with isinstance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from clusters.backends.base import Endpoint, LaunchSpec, Limits, Observation


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


class Terminals(Serving):
    """Can serve a shell beside the command of an attempt, too: the service `terminal`."""

    @abstractmethod
    def open_terminal(self, external_name: str) -> None:
        """Start a terminal server inside a running attempt, as what runs there. Idempotent."""


class Volumes(ABC):
    """Keeps volumes: folders that outlive attempts, below one this machine sees too."""

    mount_point: ClassVar[str] = "/workspace"
    """Where work finds its volume, in words for people. FASTGPU_WORKSPACE names it everywhere."""

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

    `submit` takes one for a spec that serves the same command in the same environment, with no
    network, and makes it that attempt: from outside nothing tells it from one that was started
    for it.
    """

    @abstractmethod
    def keep_standbys(self, wishes: Sequence[StandbyWish]) -> Sequence[StandbyState]:
        """Start what is missing, end what is too many or of an environment that has changed."""


class Folders(ABC):
    """Keeps the files of its attempts where this machine sees them."""

    names_hosts: ClassVar[bool]
    """Whether the machine of an attempt that serves nothing is called like it, of others never.

    By that, what writers put the host's name into is told from what others wrote beside it.
    """

    @abstractmethod
    def folders_of(self, external_name: str) -> Mapping[str, Path]:
        """`home`, `checkpoints` and, where mounted, `workspace` of an attempt, as far as there.

        Paths without links, but attempts may write on the way to `home` and put one there: who
        uses it follows none. `workspace` and `checkpoints` lie in folders of the portal's.
        Raises BackendUnavailable.
        """
