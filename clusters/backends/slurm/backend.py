"""The Slurm backend: attempts run as batch jobs of their team's Unix user on a Slurm cluster."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from clusters.backends import volumes
from clusters.backends.base import (
    Backend,
    BackendError,
    BackendUnavailable,
    Endpoint,
    Handle,
    Health,
    LaunchRefused,
    LaunchSpec,
    LogChunk,
    NodeDescription,
    Observation,
    OutputFile,
    Phase,
    Survey,
)
from clusters.backends.capabilities import (
    Arrays,
    Drain,
    Folders,
    MultiNode,
    Priorities,
    Requeue,
    Reservation,
    Reservations,
    Terminals,
    Volumes,
)
from clusters.backends.slurm import jobs, kept, script, stops, terminals, users
from clusters.backends.slurm.cli import Tools, last_line
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.nodes import Nodes
from clusters.backends.slurm.reservations import Bookings
from clusters.backends.slurm.rest import Rest
from clusters.backends.slurm.serving import Servers
from clusters.backends.slurm.settings import SlurmSettings
from clusters.backends.slurm.submission import Submission
from clusters.backends.slurm.survey import Watch

logger = logging.getLogger(__name__)
FRESH_SECONDS = 2.0
MAX_ARRAY = 1_000


def make_slurm(  # noqa: PLR0913  # one argument a setting
    *,
    root: str | Path,
    environments: str | Path = "",
    conf: str = "",
    url: str = "",
    jwt_key: str = "",
    api_version: str = "",
    user_template: str = "",
    create_users: bool = False,
    uid_base: int = 300_000,
) -> Backend:
    """A Slurm backend from what portal/settings.py says; "" stands for a setting's default."""
    return SlurmBackend(
        SlurmSettings(
            root=Path(root),
            environments=Path(environments) if environments else None,
            conf=conf,
            rest_url=url,
            jwt_key=Path(jwt_key) if jwt_key else None,
            api_version=api_version or "v0.0.38",
            user_template=user_template or "fg-team{number}",
            create_users=create_users,
            uid_base=uid_base,
        )
    )


class SlurmBackend(
    Backend,
    MultiNode,
    Requeue,
    Drain,
    Priorities,
    Arrays,
    Reservations,
    Terminals,
    Volumes,
    Folders,
):
    """One Slurm cluster. Holds no state but caches: all it knows lies in its shared folder."""

    names_hosts = False
    queues = True
    mount_point = "$FASTGPU_WORKSPACE"
    pool_options = jobs.POOL_OPTIONS

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings = settings
        self._tools = Tools(settings)
        self._folders = SharedFolder(settings.root)
        self._watch = Watch(settings, self._tools, self._folders)
        self._nodes = Nodes(self._tools)
        self._servers = Servers(self._folders, self._nodes, self._watch)
        self._bookings = Bookings(settings, self._tools)
        self._submission = Submission(
            settings, self._tools, self._folders, Rest(settings), self._watch
        )

    def submit(self, spec: LaunchSpec) -> Observation:
        """See Backend.submit."""
        return self._first_look(self._submission.submit(spec))

    def submit_array(self, spec: LaunchSpec, *, size: int, at_once: int) -> Sequence[Observation]:
        """See Arrays.submit_array."""
        if not 1 <= size <= MAX_ARRAY or at_once < 1 or spec.nodes > 1:
            raise LaunchRefused(f"An array has 1 to {MAX_ARRAY} tasks, each on one node.")
        array = f"0-{size - 1}%{min(at_once, size)}"
        record = self._submission.submit(spec, array=array, tasks=size)
        loaded = (self._folders.load(f"{record.name}.{index}") for index in range(size))
        return [self._first_look(task) for task in loaded if task is not None]

    def _first_look(self, record: Record) -> Observation:
        """A new job waits; of one that was found, Slurm says where it stands."""
        waiting = Observation(record.name, Phase.PENDING, engine_id=record.job_id)
        if time.time() - record.tried_at < FRESH_SECONDS and not self._folders.has_begun(record):
            return waiting
        fresh = record.restart > 0 or not self._folders.load_end(record)
        handle = Handle(record.name, record.job_id)
        return self._watch.survey([handle], fresh=fresh).seen.get(record.name, waiting)

    def observe(self, handles: Iterable[Handle]) -> Survey:
        """See Backend.observe. Slurm is asked at most once a second, whoever asks us."""
        return self._watch.survey(handles)

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        """See Backend.stop."""
        record = self._record(external_name)
        if record is not None:
            stops.stop(record, self._folders, self._tools, self._watch, grace_seconds=grace_seconds)

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        """See Backend.read_log. An unknown attempt has an empty log that is not complete."""
        record = self._record(external_name)
        if record is None:
            return LogChunk(b"", offset, offset, complete=False)
        over = self._folders.facts(record).ended is not None
        over = over or self._folders.load_end(record) is not None
        return self._folders.read_log(record, offset=offset, limit=limit, ended=over)

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        """See Backend.list_files."""
        record = self._record(external_name)
        return self._folders.list_files(record) if record else []

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        """See Backend.open_file."""
        record = self._record(external_name)
        if record is None:
            raise FileNotFoundError(path)
        return self._folders.open_file(record, path)

    def folders_of(self, external_name: str) -> Mapping[str, Path]:
        """See Folders.folders_of."""
        record = self._record(external_name)
        return kept.folders_of(record, self._folders) if record else {}

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        """See Backend.inventory; `options` choose a partition and a type of GPU."""
        return self._nodes.describe(options)

    def health(self, options: Mapping[str, str]) -> Health:
        """See Backend.health."""
        per_team = "{number}" in self._settings.user_template and os.geteuid() == 0
        isolation = "Slurm, Unix user per team" if per_team else "Slurm, one Unix user for all"
        problem = self._problem(options)
        words = problem or "slurmctld answers, the partition is up"
        return Health(not problem, isolation, words, script.names_of(self._settings.environments))

    def _problem(self, options: Mapping[str, str]) -> str:
        try:
            chosen = jobs.checked(options)
            if not self._tools.is_up():
                return "slurmctld does not answer"
            self._folders.create_tree()
            if not os.access(self._settings.root, os.W_OK | os.X_OK):
                return f"the portal cannot write to {self._settings.root}"
            return self._partition_problem(chosen.get("partition", ""))
        except (BackendUnavailable, LaunchRefused, OSError) as error:
            return str(error)

    def _partition_problem(self, partition: str) -> str:
        if not partition:
            return ""
        argv = ("scontrol", "--oneliner", "show", "partition", partition)
        answer = self._tools.run(*argv)
        if answer.status != 0:
            return f"partition {partition}: {last_line(answer.error)}"
        found = re.search(rb"\bState=(\S+)", answer.out)
        state = found.group(1).decode() if found else "unknown"
        return "" if state == "UP" else f"partition {partition} is {state.lower()}"

    def drain(self, node: str, reason: str) -> None:
        """See Drain.drain."""
        self._nodes.drain(node, reason)

    def undrain(self, node: str) -> None:
        """See Drain.undrain."""
        self._nodes.undrain(node)

    def set_priority(self, external_name: str, priority: int) -> None:
        """See Priorities.set_priority: Slurm's own factors no longer move this job.

        Unknown and ended attempts: nothing happens. Raises BackendUnavailable.
        """
        record = self._record(external_name)
        if record is None or not record.job_id:
            return
        row = self._watch.row_of(record, self._watch.look())
        if row is None or row.phase is not Phase.PENDING:
            return
        # 0 would hold the job back.
        word = f"Priority={min(max(priority, 1), 4_000_000_000)}"
        answer = self._tools.run("scontrol", "update", f"JobId={record.job_id}", word)
        if answer.status != 0:
            raise BackendUnavailable(f"job {record.job_id}: {last_line(answer.error)}")

    def reserve(self, reservation: Reservation) -> None:
        """See Reservations.reserve."""
        self._bookings.reserve(reservation)

    def release(self, name: str) -> None:
        """See Reservations.release."""
        self._bookings.release(name)

    def reservations(self) -> Sequence[Reservation]:
        """See Reservations.reservations."""
        return self._bookings.read()

    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        """See Serving.endpoint: known once the server has said its port. BackendUnavailable."""
        record = self._record(external_name)
        return None if record is None else self._servers.endpoint(record, service)

    def open_terminal(self, external_name: str) -> None:
        """See Terminals.open_terminal. Raises BackendError where none can be had."""
        record = self._record(external_name)
        if record is None or not self._servers.node_of(record):
            raise BackendError("Only what runs can be given a terminal.")
        terminals.open_terminal(record, self._settings, self._folders)

    def make_volume(self, name: str, *, team_number: int) -> None:
        """See Volumes.make_volume. Raises BackendUnavailable, also where the team has no user."""
        owner = self.volume_owner(team_number)
        try:
            self._folders.create_tree()
        except OSError as error:
            raise BackendUnavailable(f"The shared folder cannot be used: {error}") from error
        volumes.make(self._settings.root, name, owner)

    def volume_path(self, name: str) -> Path:
        """See Volumes.volume_path."""
        return volumes.path_of(self._settings.root, name)

    def volume_owner(self, team_number: int) -> tuple[int, int] | None:
        """See Volumes.volume_owner. Raises BackendUnavailable where the team has no user."""
        try:
            user = users.resolve(self._settings, team_number)
        except LaunchRefused as error:
            raise BackendUnavailable(str(error)) from error
        return (user.pw_uid, user.pw_gid) if os.geteuid() == 0 else None

    def erase_volume(self, name: str) -> None:
        """See Volumes.erase_volume. Raises BackendUnavailable when the disk says no."""
        volumes.erase_one(self._settings.root, name)

    def _record(self, external_name: str) -> Record | None:
        if not script.NAME.fullmatch(external_name):
            return None
        return self._folders.load(external_name)
