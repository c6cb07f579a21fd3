"""The local backend: attempts run on the portal's own machine, each in its own sandbox.

Everything known of an attempt lies in `<root>/attempts/<external_name>/`:

- `spec.json` what the supervisor runs (0600: it holds the user's environment variables)
- `state.json` what the supervisor saw: `supervisor {pid, create_time, start_ticks}`,
  `inner_pid`, `started_at`, `ended_at` (epoch seconds), `exit_code`, `signal`, `reason`, `detail`
- `log` standard output and error, as they came; `home/` the private home, the output files;
  `serve/` its servers' sockets
- `inside/` the command and a few files of /etc, read-only in the sandbox; for a container also
  the FIFOs it speaks through
- `submit` held while someone submits; `lock` held by the supervisor for its life;
  `heartbeat` touched by it every 5 s
- `stop`, `pause` a stop request (grace in seconds), and a file that is there while the attempt
  shall be on hold; `control` the FIFO that announces changes of both
- `placement.json`, while the attempt lives, for the node agent::

    {"external_name": "...", "gpu_uuids": ["GPU-..."],
     "cgroups": {"memory": "/sys/fs/cgroup/memory/fastgpu/...", "pids": ..., "cpu": ...,
                 "cpuacct": ...}   (v2: {"unified": "/sys/fs/cgroup/fastgpu/..."}; may be {}),
     "supervisor": {"pid": 123, "create_time": 1790000000.12, "start_ticks": 456}}

  Where `cgroups` is empty, the attempt's processes are the descendants of the supervisor.

Checkpoints lie in `<root>/checkpoints/`, see checkpoints.py; volumes in `<root>/volumes/`.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from clusters.backends import files, volumes
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
    Folders,
    Pause,
    Standby,
    StandbyState,
    StandbyWish,
    Terminals,
    Volumes,
)
from clusters.backends.local import (
    attempts,
    claims,
    environments,
    gpus,
    images,
    plan,
    serving,
    starter,
    uids,
    watch,
)
from clusters.backends.local.checkpoints import FOLDER as CHECKPOINTS
from clusters.backends.local.oci import OciAway
from clusters.backends.local.probe import Probe
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.standbys import Standbys

Discover = Callable[[Path, int], list[gpus.Gpu]]


class LocalBackend(Backend, Pause, Terminals, Volumes, Standby, Folders):
    """Runs attempts under supervisors of their own.

    Holds no state but what it may forget: a probe, and the names of attempts that are over.
    `discover` finds the machine's GPUs from the root folder and the number of virtual ones.
    """

    names_hosts = True

    def __init__(self, settings: LocalSettings, discover: Discover = gpus.discover) -> None:
        self._settings = settings
        self._discover = discover
        self._attempts = settings.root / "attempts"
        self._probe = Probe(settings)
        self._standbys = Standbys(settings)
        self._over: set[str] = set()
        self._node = socket.gethostname()

    def submit(self, spec: LaunchSpec) -> Observation:
        """See Backend.submit. Waits up to 2 s for the command's first moment."""
        plan.validate(spec)
        folder = self._attempts / spec.external_name
        known = self._observe_one(folder)
        if known is not None:
            return known
        health = self._probe.health()
        if not health.may_start:
            raise LaunchRefused(health.detail)
        try:
            self._attempts.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._claim(spec):
                return self._observe_one(folder) or self.submit(spec)
            folder.mkdir(mode=0o700, exist_ok=True)
            with (folder / "submit").open("ab") as turn:
                # One submitter of a name at a time; the kernel frees it when its process dies.
                fcntl.flock(turn, fcntl.LOCK_EX)
                return self._observe_one(folder) or self._start(spec, folder)
        except OSError as error:
            raise BackendUnavailable(f"The attempt could not be started: {error}") from error
        except OciAway as error:
            raise BackendUnavailable(str(error)) from error

    def _claim(self, spec: LaunchSpec) -> bool:
        """Whether something that stood by is this attempt now."""
        capability = self._probe.capability()
        if capability.standby_problem or not claims.could_be_claimed(spec):
            return False
        return claims.claim(spec, self._settings, capability, lambda: self._gpus(spec))

    def _gpus(self, spec: LaunchSpec) -> list[gpus.Gpu]:
        if not spec.gpu_uuids:
            return []
        return self._discover(self._settings.root, self._settings.virtual_gpus)

    def _start(self, spec: LaunchSpec, folder: Path) -> Observation:
        capability = self._probe.capability()
        plan.prepare(spec, self._settings, folder, capability, self._gpus(spec))
        starter.start_supervisor(folder)
        known = self._observe_one(folder)
        if known is None:
            words = starter.tail(folder / "supervisor.log")
            raise BackendUnavailable(f"The supervisor did not start: {words or 'no word of it'}")
        return known

    def observe(self, handles: Iterable[Handle]) -> Survey:
        """See Backend.observe. An attempt whose supervisor never began counts as absent."""
        taken_at = datetime.now(UTC)
        found = {}
        names = {handle.external_name for handle in handles}
        for name in names:
            if plan.NAME.fullmatch(name):
                observation = self._observe_one(self._attempts / name)
                if observation is not None:
                    found[name] = observation
        return Survey(taken_at, found, self._strays(names))

    def _strays(self, known: set[str]) -> tuple[str, ...]:
        """Attempts that live, by their placement, and were not asked after."""
        try:
            there = os.listdir(self._attempts)  # noqa: PTH208 (one name each, and many)
        except FileNotFoundError:
            return ()
        strays = []
        for name in there:
            if name in known or name in self._over:
                continue
            if (self._attempts / name / "placement.json").exists():
                strays.append(name)
            elif "ended_at" in (attempts.read_state(self._attempts / name) or {}):
                self._over.add(name)
        return tuple(strays)

    def _observe_one(self, folder: Path) -> Observation | None:
        try:
            return attempts.observe(folder, self._node)
        except (OSError, ValueError) as error:
            raise BackendUnavailable(f"{folder.name} cannot be read: {error}") from error

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        """See Backend.stop. Unknown and ended attempts: nothing happens."""
        folder = self._folder(external_name)
        if folder is None or self._has_ended(folder):
            return
        watch.replace_file(str(folder / "stop"), str(grace_seconds).encode(), durable=False)
        starter.wake(folder)

    def pause(self, external_name: str) -> None:
        """See Pause.pause. The supervisor does it within moments; observe says when it is done."""
        folder = self._folder(external_name)
        if folder is not None and not self._has_ended(folder):
            (folder / "pause").touch(mode=0o600)
            starter.wake(folder)

    def resume(self, external_name: str) -> None:
        """See Pause.resume. The supervisor does it within moments; observe says when."""
        folder = self._folder(external_name)
        if folder is not None:
            (folder / "pause").unlink(missing_ok=True)
            starter.wake(folder)

    def _has_ended(self, folder: Path) -> bool:
        """Also ends what has lost its supervisor."""
        known = self._observe_one(folder)
        return known is not None and known.phase is Phase.ENDED

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        """See Backend.read_log. An unknown attempt has an empty log that is not complete."""
        folder = self._folder(external_name)
        if folder is None:
            return LogChunk(b"", offset, offset, complete=False)
        observation = self._observe_one(folder)
        ended = observation is not None and observation.phase is Phase.ENDED
        return files.read_log(folder / "log", offset=offset, limit=limit, ended=ended)

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        """See Backend.list_files; at most files.MAX_LISTED of each of home and checkpoints."""
        folder = self._folder(external_name)
        if folder is None:
            return []
        kept = attempts.folders_of(folder).get(CHECKPOINTS)
        saved = files.list_files(kept) if kept else []
        prefixed = [replace(file, path=f"{CHECKPOINTS}/{file.path}") for file in saved]
        return sorted([*files.list_files(folder / "home"), *prefixed], key=lambda file: file.path)

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        """See Backend.open_file."""
        folder = self._folder(external_name)
        if folder is None:
            raise FileNotFoundError(path)
        first, _, rest = path.partition("/")
        if first == CHECKPOINTS:
            kept = attempts.folders_of(folder).get(CHECKPOINTS)
            if kept is None:
                raise FileNotFoundError(path)
            return files.open_file(kept, rest)
        return files.open_file(folder / "home", path)

    def folders_of(self, external_name: str) -> Mapping[str, Path]:
        """See Folders.folders_of."""
        folder = self._folder(external_name)
        return attempts.folders_of(folder) if folder else {}

    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        """See Serving.endpoint: known from the command's first moment to its end."""
        folder = self._running(external_name)
        return serving.endpoint(folder, service) if folder else None

    def open_terminal(self, external_name: str) -> None:
        """See Terminals.open_terminal. Raises BackendError where none can be had."""
        folder = self._running(external_name)
        if folder is None:
            raise BackendError("Only what runs can be given a terminal.")
        serving.open_terminal(folder)

    def keep_standbys(self, wishes: Sequence[StandbyWish]) -> Sequence[StandbyState]:
        """See Standby.keep_standbys. Raises BackendUnavailable when the disk says no.

        Where a claim is impossible (see health) nothing is started, and all has to be cold.
        """
        capability = self._probe.capability()
        possible = [] if capability.standby_problem or capability.bwrap is None else wishes
        try:
            found = self._standbys.keep(possible, capability)
        except OSError as error:
            raise BackendUnavailable(f"Nothing can be started ahead: {error}") from error
        return found or [StandbyState(wish.environment, 0, 0) for wish in wishes]

    def make_volume(self, name: str, *, team_number: int) -> None:
        """See Volumes.make_volume. Raises BackendUnavailable when the disk says no."""
        owner = self.volume_owner(team_number)
        volumes.make(self._settings.root, name, owner)

    def volume_path(self, name: str) -> Path:
        """See Volumes.volume_path."""
        return volumes.path_of(self._settings.root, name)

    def volume_owner(self, team_number: int) -> tuple[int, int] | None:
        """See Volumes.volume_owner."""
        if os.geteuid() != 0:
            return None
        uid = uids.team_uid(self._settings.uid_base, team_number)
        return uid, uid

    def erase_volume(self, name: str) -> None:
        """See Volumes.erase_volume. Raises BackendUnavailable when the disk says no."""
        volumes.erase_one(self._settings.root, name)

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        """This machine as one node. Raises BackendUnavailable when the GPU driver fails."""
        found = self._discover(self._settings.root, self._settings.virtual_gpus)
        return [NodeDescription(self._node, tuple(gpu.description for gpu in found))]

    def health(self, options: Mapping[str, str]) -> Health:
        """See Backend.health; the sandbox is tried at most once a minute.

        An engine for images that is away, and servers that do not start ahead, are named; they
        do not keep other work from starting.
        """
        health = self._probe.health()
        problems = [images.problem(self._settings), self._probe.capability().standby_problem]
        words = [health.detail, *problems, *self._standbys.troubles()]
        found = environments.names(self._settings.environments)
        return replace(health, environments=found, detail=" ".join(filter(None, words)))

    def _running(self, external_name: str) -> Path | None:
        """Its folder, if it runs. Raises BackendUnavailable."""
        folder = self._folder(external_name)
        known = self._observe_one(folder) if folder else None
        return folder if known is not None and known.phase is Phase.RUNNING else None

    def _folder(self, external_name: str) -> Path | None:
        folder = self._attempts / external_name
        return folder if plan.NAME.fullmatch(external_name) and folder.is_dir() else None
