"""Debian's PostgreSQL 15, for a suite that runs on it: what an operator's own server would be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
ROLE = "fastgpu"
# The embedded server's limits, and nothing that makes a crash safe.
OPTIONS = (
    "-c listen_addresses= -c max_connections=100 -c shared_buffers=64MB -c timezone=UTC"
    " -c max_parallel_workers_per_gather=0 -c jit=off"
    " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
)


class DebianPostgres:
    """One cluster in `folder`, reached through a socket there. As root it runs as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "cluster"

    @property
    def url(self) -> str:
        """DATABASE_URL of a role that may make databases and nothing else."""
        return f"postgresql://{ROLE}@/{ROLE}?host={self.folder}"

    def start(self) -> None:
        """Make the cluster and run it until `stop`."""
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            # Its user has to reach the folder, which is its own; the one above lists nothing.
            self.folder.parent.chmod(0o711)
            shutil.chown(self.folder, USER, USER)
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "-N")
        where = f"{OPTIONS} -k {self.folder}"
        log = str(self.folder / "server.log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", where, "start")
        role = f"CREATE ROLE {ROLE} LOGIN CREATEDB"
        for statement in (role, f"CREATE DATABASE {ROLE} OWNER {ROLE}"):
            self._run("psql", "-h", str(self.folder), "-U", USER, "-q", "-c", statement)

    def stop(self) -> None:
        """End it; whoever is connected is cut off."""
        if self._data.exists():
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(BINARIES / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
        # Its output goes to no pipe: the server would hold it open.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
