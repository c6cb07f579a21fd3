"""The embedded PostgreSQL: its life, and its deaths."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from portal.stack.errors import StackError
from portal.stack.jail import SERVICE_UID
from portal.stack.postgres import EmbeddedPostgres, socket_folder


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder below one that nobody else may enter, as a clone in /root is."""
    folder = tmp_path / "private" / "clone"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    return folder


@pytest.fixture
def postgres(private: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(private / "data", private / "s")
    yield server
    server.stop()


def _one(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        return row[0] if row else None


def test_makes_its_role_and_database_below_a_private_folder(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert _one(postgres.url, "SELECT current_user || '@' || current_database()") == (
        "fastgpu@fastgpu"
    )


def test_the_portals_role_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert _one(postgres.url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'fastgpu'") is False


def test_listens_on_no_network_address(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postgres.main_pid()
    assert pid is not None
    assert psutil.Process(pid).net_connections("inet") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a uid to give away")
def test_as_root_it_runs_as_nobody_else_and_without_capabilities(
    postgres: EmbeddedPostgres,
) -> None:
    postgres.start()
    status = Path(f"/proc/{postgres.main_pid()}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(SERVICE_UID)}
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


def test_writes_safely_unless_told_otherwise(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert _one(postgres.url, "SELECT current_setting('fsync')") == "on"


def test_fsync_can_be_off_for_tests(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", tmp_path / "s", fsync=False) as server:
        assert _one(server.url, "SELECT current_setting('fsync')") == "off"


def test_what_was_committed_is_there_after_a_restart(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    postgres.start()
    assert _one(postgres.url, "SELECT answer FROM kept") == 42


def test_recovers_when_its_server_was_killed(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid = postgres.main_pid()
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    postgres.stop()
    postgres.start()
    assert _one(postgres.url, "SELECT answer FROM kept") == 42


def test_stop_leaves_no_process(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postgres.main_pid()
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    postgres.stop()
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_a_making_cut_short_is_begun_again(postgres: EmbeddedPostgres) -> None:
    (postgres.data_dir / "draft" / "base").mkdir(parents=True)
    postgres.start()
    assert _one(postgres.url, "SELECT 1") == 1


def test_starts_though_its_old_pid_belongs_to_another_program(postgres: EmbeddedPostgres) -> None:
    postgres.prepare()
    stale = [str(os.getpid()), "/x", "1", "5432", "/x", "", "  1 -1", "ready"]
    (postgres.cluster / "postmaster.pid").write_text("\n".join(stale) + "\n", encoding="utf-8")
    assert not postgres.is_ready()
    postgres.start()
    assert _one(postgres.url, "SELECT 1") == 1


def test_starts_beside_the_corpse_of_a_killed_server(postgres: EmbeddedPostgres) -> None:
    postgres.prepare()
    # A process of that name which ended and which nobody has waited for.
    script = "cp /bin/true $0 && exec $0"
    program = postgres.data_dir.with_name("postgres")
    with subprocess.Popen(["/bin/sh", "-c", script, str(program)]) as corpse:
        os.waitid(os.P_PID, corpse.pid, os.WEXITED | os.WNOWAIT)
        stale = [str(corpse.pid), "/x", "1", "5432", "/x", "", "  1 -1", "ready"]
        (postgres.cluster / "postmaster.pid").write_text("\n".join(stale) + "\n", encoding="utf-8")
        postgres.start()
        assert _one(postgres.url, "SELECT 1") == 1


def test_data_copied_by_root_is_taken_over(postgres: EmbeddedPostgres, private: Path) -> None:
    postgres.prepare()
    if os.geteuid() == 0:
        for folder, _, files in os.walk(postgres.data_dir):
            for name in [".", *files]:
                os.chown(Path(folder, name), 0, 0)
    postgres.start()
    assert _one(postgres.url, "SELECT 1") == 1


def test_a_socket_path_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="too long"):
        EmbeddedPostgres(tmp_path, tmp_path / ("x" * 100))


def test_sockets_go_to_the_short_folder_only_where_they_must(tmp_path: Path) -> None:
    short = Path("/tmp/short")
    assert socket_folder(Path("/srv/var/run"), short) == Path("/srv/var/run")
    assert socket_folder(tmp_path / ("x" * 100), short) == short
