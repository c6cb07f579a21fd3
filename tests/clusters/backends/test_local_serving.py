"""What attempts of the local backend serve: where, for whom, and what they find for it."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.backends.base import Endpoint, EndReason, LaunchSpec
from clusters.backends.dial import NotItsSocket, dial
from clusters.backends.local.backend import LocalBackend
from tests.clusters.backends.machine import (
    ENVIRONMENTS,
    RUNTIMES,
    UID_BASE,
    needs_root,
    settings_of,
)
from tests.contracts.backend import ended, log_holds, log_of, make_spec, run, running

pytestmark = pytest.mark.sandbox
SERVER = """
cat > server.py <<'E'
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["FASTGPU_SERVE_SOCKET"])
listener.listen()
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    asked = connection.recv(4096).decode()
    known = asked == os.environ["FASTGPU_SERVE_TOKEN"]
    connection.sendall(b"welcome" if known else b"who are you?")
    connection.close()
E
exec python3 server.py
"""


def serving(command: str = SERVER, *, runtime: str = "bubblewrap", team: int = 7) -> LaunchSpec:
    """A spec whose command is a server."""
    spec = make_spec(command, environment=ENVIRONMENTS[runtime], team=team)
    return replace(spec, serves=True)


def said(endpoint: Endpoint | None, token: str) -> bytes:
    """What the server answers to who says `token`."""
    assert endpoint is not None
    with socket.socket(socket.AF_UNIX) as connection, dial(endpoint) as path:
        connection.connect(path)
        connection.sendall(token.encode())
        return connection.recv(4096)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_server_is_reached_with_its_token(either: LocalBackend, runtime: str) -> None:
    spec = serving(runtime=runtime)
    either.submit(spec)
    log_holds(either, spec.external_name, b"listening\n")
    endpoint = either.endpoint(spec.external_name, "lab")
    assert endpoint is not None
    assert said(endpoint, endpoint.token) == b"welcome"
    assert said(endpoint, "guess") == b"who are you?"


def test_another_process_of_the_portal_knows_the_same(backend: LocalBackend, root: Path) -> None:
    spec = serving()
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"listening\n")
    restarted = LocalBackend(settings_of(root))
    endpoint = restarted.endpoint(spec.external_name, "lab")
    assert endpoint == backend.endpoint(spec.external_name, "lab")
    assert endpoint is not None
    assert said(endpoint, endpoint.token) == b"welcome"


def test_it_is_known_from_the_start_to_the_end_and_only_of_what_serves(
    backend: LocalBackend,
) -> None:
    server, job = serving(), make_spec("sleep 60")
    assert backend.endpoint(server.external_name, "lab") is None
    for spec in (server, job):
        backend.submit(spec)
        running(backend, spec.external_name)
    assert backend.endpoint(server.external_name, "lab") is not None
    assert backend.endpoint(server.external_name, "../lab") is None
    assert backend.endpoint(job.external_name, "lab") is None
    assert backend.endpoint(job.external_name, "terminal") is not None
    backend.stop(server.external_name, grace_seconds=0)
    ended(backend, server.external_name)
    assert backend.endpoint(server.external_name, "lab") is None


def test_each_attempt_has_a_token_of_its_own_that_the_portal_keeps(
    backend: LocalBackend, root: Path
) -> None:
    tokens = set()
    for spec in (serving("sleep 60"), serving("sleep 60")):
        backend.submit(spec)
        kept = root / "local" / "attempts" / spec.external_name / "spec.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        running(backend, spec.external_name)
        endpoint = backend.endpoint(spec.external_name, "lab")
        assert endpoint is not None
        assert endpoint.token == json.loads(kept.read_text())["token"]
        tokens.add(endpoint.token)
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


@needs_root
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_what_the_teams_uid_made_is_connected_to(
    either: LocalBackend, root: Path, runtime: str
) -> None:
    with socket.socket(socket.AF_UNIX) as secret:
        secret.bind(str(root / "secret"))
        secret.listen()
        spec = serving(f"ln -s {root}/secret $FASTGPU_SERVE_SOCKET; echo done; sleep 60", team=42,
                       runtime=runtime)  # fmt: skip
        either.submit(spec)
        log_holds(either, spec.external_name, b"done\n")
        endpoint = either.endpoint(spec.external_name, "lab")
        assert endpoint is not None
        assert endpoint.owner_uid == UID_BASE + 42
        with pytest.raises(NotItsSocket), dial(endpoint):
            pass


def test_a_plain_job_finds_no_token(backend: LocalBackend) -> None:
    spec = make_spec("env | grep -c FASTGPU_SERVE; true")
    run(backend, spec)
    assert log_of(backend, spec.external_name) == b"0\n"


def test_no_variable_of_the_users_takes_their_place(backend: LocalBackend) -> None:
    spec = replace(
        serving("echo $FASTGPU_SERVE_SOCKET; test ${#FASTGPU_SERVE_TOKEN} -gt 30"),
        env={"FASTGPU_SERVE_SOCKET": "/tmp/x", "FASTGPU_SERVE_TOKEN": "x"},
    )
    assert run(backend, spec).exit_code == 0
    assert log_of(backend, spec.external_name) == b"/run/serve/lab.sock\n"


def test_what_is_written_beside_the_socket_counts_as_disk(backend: LocalBackend) -> None:
    spec = make_spec("head -c 20M /dev/zero > /run/serve/a; head -c 20M /dev/zero > b; sleep 60")
    assert run(backend, spec).reason is EndReason.DISK_FULL


class TestSdk:
    """The SDK in every attempt."""

    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_it_can_be_imported_and_not_be_changed(
        self, either: LocalBackend, runtime: str
    ) -> None:
        spec = make_spec(
            "python3 -c 'import fastgpu; print(fastgpu.__file__)'; ls /opt/fastgpu; "
            "touch /opt/fastgpu/x /opt/fastgpu/fastgpu/x || echo refused",
            environment=ENVIRONMENTS[runtime],
        )
        run(either, spec)
        lines = log_of(either, spec.external_name).decode().splitlines()
        assert lines[:2] == ["/opt/fastgpu/fastgpu/__init__.py", "fastgpu"]
        assert lines[-1] == "refused"

    def test_it_is_there_beside_an_environments_own_packages(
        self, backend: LocalBackend, root: Path
    ) -> None:
        prefix = root / "environments" / "lab"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
        site = next((prefix / "lib").glob("python3*/site-packages"))
        (site / "theirs.py").write_text("name = 'theirs'")
        spec = make_spec("python -c 'import fastgpu, theirs; print(theirs.name)'; python -m theirs",
                         environment="lab")  # fmt: skip
        assert run(backend, spec).exit_code == 0
        assert log_of(backend, spec.external_name) == b"theirs\n"

    def test_the_users_own_paths_come_first(self, backend: LocalBackend) -> None:
        spec = make_spec(
            "mkdir -p lib/fastgpu; echo 'name = \"mine\"' > lib/fastgpu/__init__.py; "
            "python3 -c 'import fastgpu; print(fastgpu.name)'",
            env={"PYTHONPATH": "/home/run/lib"},
        )
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"mine\n"

    def test_nothing_of_it_is_loaded_unasked(self, backend: LocalBackend) -> None:
        spec = make_spec("python3 -c 'import sys; print([m for m in sys.modules if \"gpu\" in m])'")
        run(backend, spec)
        assert log_of(backend, spec.external_name) == b"[]\n"
