"""Attempts on the shared file system: what the portal keeps of them, what they leave behind.

Below the root, all of it owned by the portal's user and closed to listing (0711)::

    lib/<hash>.sh, lib/<hash>.py     the wrapper, as compute nodes run it
    lib/sdk-<hash>.zip               the SDK, for what runs there
    checkpoints/<team>-<run>/        0700, the team's: FASTGPU_CHECKPOINT_DIR of all attempts
    volumes/<name>/                  0700, the team's: FASTGPU_WORKSPACE of who mounts it
    attempts/<external name>/
        record.json                  0600: what was submitted, and as which Slurm job
        end.json                     0600: the last observation, once it has ended
        terminal                     0600: the token of its terminal, once one was asked for
        lock                         held while somebody submits, or asks for a terminal
        in/                          command, env, terminal (0400, the team's), plan, stop
        starts/                      0700, the team's, one folder per start of the job:
            <restart>/               started, ended, log, port, terminal, home/
                                     (arrays: <task>.<restart>/)

The content of `starts` is hostile: it is reached from open directories, without following links,
and only plain files of the team's own user are read, up to a bound.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from clusters.backends import files, volumes
from clusters.backends.base import (
    EndReason,
    LaunchRefused,
    LogChunk,
    Observation,
    OutputFile,
    Phase,
)
from clusters.backends.slurm import told

PORT_FILE = "port"
TERMINAL_FILE = "terminal"


@dataclass(frozen=True, slots=True)
class Record:
    """What the portal knows of an attempt it submitted. Times are seconds since the epoch.

    `origin` names the attempt whose folder the job works in; `restart` counts Slurm's restarts
    of the job up to this attempt: together they say where its files are. `job_id` "" means that
    a submission was tried and its outcome is unknown. `successor` is the attempt that took the
    job over. `tasks` is the size of an array, 0 for a single job; `task` the place in it. `token`
    is what its server demands, "" for what serves nothing.
    """

    name: str
    user: str
    uid: int
    time_limit: int
    nodes: int
    tried_at: float
    origin: str
    restart: int = 0
    job_id: str = ""
    successor: str = ""
    tasks: int = 0
    task: int = -1
    token: str = ""

    @property
    def job_name(self) -> str:
        """The name the job carries in Slurm."""
        return self.name if self.task < 0 else self.name.rpartition(".")[0]

    @property
    def start(self) -> str:
        """The name of the folder of its start, among those of the job."""
        return str(self.restart) if self.task < 0 else f"{self.task}.{self.restart}"

    @property
    def suffix(self) -> str:
        """What names of files end in that each task of an array has."""
        return "" if self.task < 0 else f".{self.task}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the wrapper says of one start; None where it says nothing that can be read.

    `alive`: its last sign of life, given twice a second.
    """

    started: float | None = None
    ended: float | None = None
    alive: float | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A stop that was asked for, and when (seconds since the epoch)."""

    at: float
    grace_seconds: int


class SharedFolder:
    """The tree below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._attempts = root / "attempts"
        self._checkpoints = root / "checkpoints"

    def create_tree(self) -> None:
        """Make the folders that must be there; OSError when the file system says no."""
        own = (self._attempts, self._checkpoints, self.root / "lib", self.root / volumes.FOLDER)
        for folder in (self.root, *own):
            folder.mkdir(exist_ok=True, parents=True)
            if stat.S_IMODE(folder.stat().st_mode) != 0o711 and folder != self.root:
                folder.chmod(0o711)

    def attempt(self, name: str) -> Path:
        """The folder of an attempt."""
        return self._attempts / name

    def checkpoints(self, team_number: int, run_id: str) -> Path:
        """The checkpoint folder of a team's run."""
        return self._checkpoints / f"{team_number}-{run_id}"

    def install(self, content: bytes, name: str) -> Path:
        """A file of ours under `lib`, readable by all; its name carries what it holds."""
        path = self.root / "lib" / name
        if not path.exists():
            write_file(path, content, mode=0o644)
        return path

    def give(self, folder: Path, uid: int, gid: int) -> None:
        """A private folder of the team's user. Raises LaunchRefused if it is another's."""
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(folder, uid, gid)
        found = folder.lstat()
        if found.st_uid == 0 == os.geteuid() and uid != 0:
            # A crash came between the two calls above.
            os.chown(folder, uid, gid, follow_symlinks=False)
            found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise LaunchRefused(f"{folder.name} on the cluster's shared folder belongs to another.")

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[Path]:
        """The attempt's folder, for one submitter at a time."""
        folder = self.attempt(name)
        folder.mkdir(mode=0o711, exist_ok=True)
        folder.chmod(0o711)
        with (folder / "lock").open("ab") as turn:
            # The kernel lets go of it when its process dies.
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield folder

    # ---- records ----

    def load(self, name: str) -> Record | None:
        """The record of an attempt or of a task of an array (`<name>.<i>`)."""
        found = self._record(name)
        if found is None:
            base, dot, index = name.rpartition(".")
            if dot and index.isdigit():
                found = self._record(base)
                if found is None or int(index) >= found.tasks:
                    return None
                return replace(found, name=name, task=int(index))
        return found

    def _record(self, name: str) -> Record | None:
        try:
            return Record(**json.loads((self.attempt(name) / "record.json").read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def save(self, record: Record) -> None:
        """Keep a record so that it survives the machine."""
        path = self.attempt(record.name) / "record.json"
        write_file(path, json.dumps(asdict(record)).encode(), mode=0o600, durable=True)

    def forget(self, name: str) -> None:
        """Drop the record of a submission that was refused."""
        (self.attempt(name) / "record.json").unlink(missing_ok=True)

    def load_end(self, record: Record) -> Observation | None:
        """The observation an attempt ended with."""
        try:
            return _observation(json.loads(self._end_path(record).read_bytes()))
        except FileNotFoundError:
            return None

    def save_end(self, record: Record, end: Observation) -> None:
        """Keep how an attempt ended."""
        write_file(self._end_path(record), json.dumps(_plain(end)).encode(), mode=0o600)

    def _end_path(self, record: Record) -> Path:
        return self.attempt(record.job_name) / f"end{record.suffix}.json"

    # ---- stops ----

    def request_stop(self, record: Record, *, grace_seconds: int) -> None:
        """Leave word for the wrapper; it is not changed by asking again."""
        path = self._stop_path(record)
        if not path.exists():
            write_file(path, str(grace_seconds).encode(), mode=0o644)

    def stop_request(self, record: Record) -> StopRequest | None:
        """The stop that was asked for."""
        try:
            path = self._stop_path(record)
            return StopRequest(path.stat().st_mtime, int(path.read_bytes()))
        except FileNotFoundError:
            return None

    def _stop_path(self, record: Record) -> Path:
        return self.attempt(record.origin) / "in" / f"stop{record.suffix}"

    # ---- terminals ----

    def ask_for_terminal(self, record: Record, script: str) -> None:
        """Have the attempt run `script` beside its command; each call does it once."""
        path = self.attempt(record.origin) / "in" / f"{TERMINAL_FILE}{record.suffix}"
        write_file(path, script.encode(), mode=0o400, owner=record.uid)

    def terminal_token(self, record: Record) -> str:
        """What its terminal demands; "" where nobody has asked for one."""
        try:
            return self._token_path(record).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def save_terminal_token(self, record: Record, token: str) -> None:
        """Keep it where only the portal reads it."""
        write_file(self._token_path(record), token.encode(), mode=0o600)

    def _token_path(self, record: Record) -> Path:
        return self.attempt(record.origin) / f"{TERMINAL_FILE}{record.suffix}"

    # ---- what it left behind ----

    @contextlib.contextmanager
    def _place(self, record: Record) -> Iterator[int]:
        """The open folder of one start. FileNotFoundError while there is none."""
        try:
            starts = os.open(self.attempt(record.origin) / "starts", files.FOLDER_FLAGS)
            try:
                place = os.open(record.start, files.FOLDER_FLAGS, dir_fd=starts)
            finally:
                os.close(starts)
        except OSError as error:
            raise FileNotFoundError(record.start) from error
        try:
            yield place
        finally:
            os.close(place)

    def facts(self, record: Record) -> Facts:
        """What the wrapper wrote of this start; nonsense counts as nothing."""
        try:
            with self._place(record) as place:
                started = told.numbers(place, "started", record.uid, 1)
                ended = told.numbers(place, "ended", record.uid, 2)
                alive = told.touched(place, "alive", record.uid)
        except FileNotFoundError:
            return Facts()
        return Facts(
            started=started[0] if started else None,
            ended=ended[0] if ended else None,
            alive=alive,
            code=int(ended[1]) if ended and 0 <= ended[1] <= 255 else None,
        )

    def answer(self, record: Record, name: str) -> told.Answer:
        """Where the attempt says in a file of this name that a server of its listens."""
        with contextlib.suppress(FileNotFoundError), self._place(record) as place:
            return told.answer(place, name, record.uid)
        return told.Answer()

    def has_begun(self, record: Record) -> bool:
        """Whether the wrapper ever ran for this start."""
        with contextlib.suppress(FileNotFoundError), self._place(record):
            return True
        return False

    def read_log(self, record: Record, *, offset: int, limit: int, ended: bool) -> LogChunk:
        """Bytes of the log from `offset`; `ended` must have been observed before this call."""
        data, size = b"", 0
        with contextlib.suppress(FileNotFoundError), self._place(record) as place:
            fd = told.open_plain(place, "log", record.uid)
            try:
                data = os.pread(fd, limit, offset)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
        reached = offset + len(data)
        return LogChunk(data, offset, reached, complete=ended and reached >= size)

    def list_files(self, record: Record) -> list[OutputFile]:
        """See Backend.list_files."""
        with contextlib.suppress(FileNotFoundError), self._place(record) as place:
            return files.list_files(_below(place))
        return []

    def open_file(self, record: Record, path: str) -> BinaryIO:
        """See Backend.open_file."""
        with self._place(record) as place:
            return files.open_file(_below(place), path)


def _below(place: int) -> Path:
    # Through the descriptor: the names on the way there are the team's to change.
    return Path(f"/proc/self/fd/{place}/home")


def write_file(
    path: Path, content: bytes, *, mode: int, durable: bool = False, owner: int = -1
) -> None:
    """Put a file in place whole; where the portal is root, it may be another user's."""
    # A name of its own: several threads, and portals, may write one file at once.
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            if os.geteuid() == 0:
                os.fchown(fd, owner, -1)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(fd)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _plain(seen: Observation) -> dict[str, Any]:
    found = asdict(seen)
    found["wait"] = None
    for name in ("started_at", "ended_at"):
        found[name] = found[name].isoformat() if found[name] else None
    return found


def _observation(found: dict[str, Any]) -> Observation:
    for name in ("started_at", "ended_at"):
        if found[name]:
            found[name] = datetime.fromisoformat(found[name]).astimezone(UTC)
    found["phase"] = Phase(found["phase"])
    found["reason"] = EndReason(found["reason"]) if found["reason"] else None
    return Observation(**found)
