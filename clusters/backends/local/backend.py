"""The local backend: attempts run on the portal's own machine, each in its own sandbox.

Everything known of an attempt lies in `<root>/attempts/<external_name>/`:

- `spec.json` what the supervisor runs (0600: it holds the user's environment variables)
- `state.json` what the supervisor saw: `supervisor {pid, create_time, start_ticks}`,
  `inner_pid`, `started_at`, `ended_at` (epoch seconds), `exit_code`, `signal`, `reason`, `detail`
- `log` standard output and error, as they came; `home/` the private home, the output files
- `inside/` the command and a few files of /etc, read-only in the sandbox
- `submit` held while someone submits; `lock` held by the supervisor for its life;
  `heartbeat` touched by it every 5 s
- `stop`, `control` a stop request (grace in seconds) and the FIFO that announces it
- `placement.json`, while the attempt lives, for the node agent::

    {"external_name": "...", "gpu_uuids": ["GPU-..."],
     "cgroups": {"memory": "/sys/fs/cgroup/memory/fastgpu/...", "pids": ..., "cpu": ...,
                 "cpuacct": ...}   (v2: {"unified": "/sys/fs/cgroup/fastgpu/..."}; may be {}),
     "supervisor": {"pid": 123, "create_time": 1790000000.12, "start_ticks": 456}}

  Where `cgroups` is empty, the attempt's processes are the descendants of the supervisor.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from clusters.backends import files
from clusters.backends.base import (
    Backend,
    BackendUnavailable,
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
from clusters.backends.local import attempts, gpus, plan, supervisor, watch
from clusters.backends.local.probe import Probe
from clusters.backends.local.settings import LocalSettings

START_WAIT_SECONDS = 2.0


class LocalBackend(Backend):
    """Runs attempts under supervisors of their own. Holds no state but a cached probe."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._attempts = settings.root / "attempts"
        self._probe = Probe(settings)
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
            folder.mkdir(mode=0o700, exist_ok=True)
            with (folder / "submit").open("ab") as turn:
                # One submitter of a name at a time; the kernel frees it when its process dies.
                fcntl.flock(turn, fcntl.LOCK_EX)
                return self._observe_one(folder) or self._start(spec, folder)
        except OSError as error:
            raise BackendUnavailable(f"The attempt could not be started: {error}") from error

    def _start(self, spec: LaunchSpec, folder: Path) -> Observation:
        root, count = self._settings.root, self._settings.virtual_gpus
        found = gpus.discover(root, count) if spec.gpu_uuids else []
        plan.prepare(spec, self._settings, folder, self._probe.capability(), found)
        _start_supervisor(folder)
        known = self._observe_one(folder)
        if known is None:
            words = _tail(folder / "supervisor.log")
            raise BackendUnavailable(f"The supervisor did not start: {words or 'no word of it'}")
        return known

    def observe(self, handles: Iterable[Handle]) -> Survey:
        """See Backend.observe. An attempt whose supervisor never began counts as absent."""
        taken_at = datetime.now(UTC)
        found = {}
        for handle in handles:
            name = handle.external_name
            if plan.NAME.fullmatch(name):
                observation = self._observe_one(self._attempts / name)
                if observation is not None:
                    found[name] = observation
        return Survey(taken_at, found)

    def _observe_one(self, folder: Path) -> Observation | None:
        try:
            return attempts.observe(folder, self._node)
        except (OSError, ValueError) as error:
            raise BackendUnavailable(f"{folder.name} cannot be read: {error}") from error

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        """See Backend.stop. Unknown and ended attempts: nothing happens."""
        folder = self._folder(external_name)
        if folder is None or "ended_at" in (attempts.read_state(folder) or {}):
            return
        watch.replace_file(str(folder / "stop"), str(grace_seconds).encode(), durable=False)
        try:
            control = os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            # No supervisor listens yet, or no more: a coming one reads the file itself.
            return
        try:
            os.write(control, b"\n")
        finally:
            os.close(control)

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        """See Backend.read_log. An unknown attempt has an empty log that is not complete."""
        folder = self._folder(external_name)
        if folder is None:
            return LogChunk(b"", offset, offset, complete=False)
        observation = self._observe_one(folder)
        ended = observation is not None and observation.phase is Phase.ENDED
        return files.read_log(folder / "log", offset=offset, limit=limit, ended=ended)

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        """See Backend.list_files; at most files.MAX_LISTED."""
        folder = self._folder(external_name)
        return files.list_files(folder / "home") if folder else []

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        """See Backend.open_file."""
        folder = self._folder(external_name)
        if folder is None:
            raise FileNotFoundError(path)
        return files.open_file(folder / "home", path)

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        """This machine as one node. Raises BackendUnavailable when the GPU driver fails."""
        found = gpus.discover(self._settings.root, self._settings.virtual_gpus)
        return [NodeDescription(self._node, tuple(gpu.description for gpu in found))]

    def health(self, options: Mapping[str, str]) -> Health:
        """See Backend.health; the sandbox is tried at most once a minute."""
        return self._probe.health()

    def _folder(self, external_name: str) -> Path | None:
        folder = self._attempts / external_name
        return folder if plan.NAME.fullmatch(external_name) and folder.is_dir() else None


def _start_supervisor(folder: Path) -> None:
    """Start the supervisor outside our session and wait until the command runs, at most 2 s."""
    listening, notify = os.pipe()
    interpreter = str(Path(sys.executable).resolve())
    script = str(Path(supervisor.__file__).resolve())
    try:
        with (folder / "supervisor.log").open("ab") as errors:
            starter = subprocess.Popen(
                [interpreter, "-I", "-S", script, str(folder), str(notify)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(notify,),
                start_new_session=True,
                env={"PATH": plan.SYSTEM_PATH, "LANG": "C.UTF-8"},
                cwd="/",
            )
    except OSError:
        os.close(listening)
        raise
    finally:
        os.close(notify)
    deadline = time.monotonic() + START_WAIT_SECONDS
    poller = select.poll()
    poller.register(listening, select.POLLIN)
    try:
        # Readable: the command runs. Hung up: the supervisor ended, or another one has the lock.
        poller.poll(START_WAIT_SECONDS * 1000)
        starter.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        # The first half of the double fork is still starting on a busy machine; it ends alone.
        return
    finally:
        os.close(listening)


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-500:].decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
