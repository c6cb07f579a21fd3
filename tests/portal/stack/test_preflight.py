"""Each thing that is wrong before a start is one sentence and exit status 1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from portal.stack.config import BASE_DIR, Config
from portal.stack.errors import StackError
from portal.stack.layout import Layout
from portal.stack.ports import loopback_of, require_free
from portal.stack.preflight import require_ports, require_space
from tests.ports import free_port

pytestmark = pytest.mark.timeout(60)


def _up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _is_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


@pytest.fixture
def taken() -> int:
    return free_port()


def test_up_names_a_taken_port_and_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = _up(tmp_path / "var", PORT=str(port))
    _is_one_sentence(done, f"Port {port} is taken", f"process {os.getpid()}", "PORT=")


def test_up_without_bubblewrap_says_what_to_type(tmp_path: Path) -> None:
    done = _up(tmp_path / "var", PATH=str(tmp_path))
    _is_one_sentence(done, "bubblewrap is missing", "apt-get install -y bubblewrap")


def test_up_on_data_of_another_version_says_so(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "var")
    layout.create()
    layout.check_version(9)
    _is_one_sentence(_up(layout.root), "another version", "PostgreSQL 9", "VAR_DIR")


def test_up_twice_on_the_same_data_says_so(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "var")
    layout.create()
    with layout.locked():
        _is_one_sentence(_up(layout.root), "already runs", str(os.getpid()))


@pytest.mark.parametrize("port", ["many", "0", "70000"])
def test_up_with_a_port_that_is_none_says_so(tmp_path: Path, port: str) -> None:
    _is_one_sentence(_up(tmp_path / "var", PORT=port), "PORT")


def test_up_with_an_address_of_apps_without_their_name_says_so(tmp_path: Path) -> None:
    done = _up(tmp_path / "var", APPS_URL="https://apps.example.org")
    _is_one_sentence(done, "APPS_URL", "https://{name}.apps.example.org")


def test_up_where_it_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _is_one_sentence(_up(tmp_path / "file" / "var"), "cannot be written", "VAR_DIR")


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"is full \(12 MB left, 1000 MB needed\)"):
        require_space(tmp_path, free=lambda _folder: 12_345_678)


def test_a_disk_with_room_is_accepted(tmp_path: Path) -> None:
    require_space(tmp_path, free=lambda _folder: 2_000_000_000)
    assert shutil.disk_usage(tmp_path).free > 0


def test_a_free_port_is_accepted() -> None:
    require_free("127.0.0.1", free_port(), "PORT")


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(StackError, match="HOST"):
        require_free("203.0.113.7", free_port(), "PORT")


def test_two_parts_on_one_port_are_refused(tmp_path: Path) -> None:
    port = free_port()
    config = Config(
        layout=Layout(tmp_path),
        host="127.0.0.1",
        port=port,
        proxy_port=port,
        sandbox_port=port,
        own_postgres=True,
        own_valkey=True,
        stripe_sandbox=True,
    )
    with pytest.raises(StackError, match="PROXY_PORT and PORT are both"):
        require_ports(config)


def test_our_own_processes_reach_what_listens_everywhere() -> None:
    assert [loopback_of(host) for host in ("0.0.0.0", "::", "127.0.0.1")] == [
        "127.0.0.1",
        "::1",
        "127.0.0.1",
    ]
