"""Where things lie below VAR_DIR, which version wrote them, and who may use them now."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal.lib.env import env_path
from portal.stack.errors import StackError

# Raised whenever files below VAR_DIR change so that older code cannot read them.
LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Layout:
    """The folders and files below one VAR_DIR."""

    root: Path

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def stripe(self) -> Path:
        return self.root / "stripe"

    @property
    def attempts(self) -> Path:
        return self.root / "local" / "attempts"

    @property
    def environments(self) -> Path:
        return env_path("ENVIRONMENTS_DIR", self.root / "environments")

    @property
    def version_file(self) -> Path:
        return self.root / "VERSION"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def demo_file(self) -> Path:
        return self.root / "demo.json"

    def create(self) -> None:
        """Make the folders; raises StackError when VAR_DIR cannot be written."""
        try:
            for folder in (self.root, self.postgres, self.run, self.logs, self.stripe):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.attempts, self.environments, self.root / "mail"):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.run / ".writable"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"The data folder {self.root} cannot be written ({error.strerror}): "
                "make it writable or set VAR_DIR to another folder."
            ) from error

    def check_version(self, postgres_major: int) -> None:
        """Compare the stamp of the data with this code, or write it where the data is new.

        Raises StackError when another version wrote the data.
        """
        ours = {"layout": LAYOUT_VERSION, "postgres": postgres_major}
        try:
            theirs = json.loads(self.version_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            write_private(self.version_file, json.dumps(ours) + "\n")
            return
        except ValueError:
            theirs = None
        if theirs != ours:
            found = _describe(theirs) if isinstance(theirs, dict) else "an unreadable stamp"
            raise StackError(
                f"The data folder {self.root} is of another version ({found}, "
                f"this FastGPU needs {_describe(ours)}): run the FastGPU that made it, "
                "or set VAR_DIR to a new folder."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold VAR_DIR for this process; raises StackError when another one holds it."""
        path = self.run / "up.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
                raise StackError(
                    f"FastGPU already runs on {self.root} (process {holder}): stop it first, "
                    "or give this one its own VAR_DIR and PORT."
                ) from error
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield
        finally:
            os.close(descriptor)


def _describe(stamp: dict[str, int]) -> str:
    return f"layout {stamp.get('layout')}, PostgreSQL {stamp.get('postgres')}"


def write_private(path: Path, text: str, *, durable: bool = True) -> None:
    """Put `text` into `path`, readable by its owner only, whole or not at all.

    With `durable` it also outlives a loss of power.
    """
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
