"""What attempts on a cluster serve: JupyterLab on its node, and ports that hostile code names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from clusters.backends.base import (
    Endpoint,
    EndReason,
    LaunchRefused,
    LaunchSpec,
    Phase,
)
from clusters.backends.slurm.backend import SlurmBackend
from clusters.backends.slurm.folders import PORT_FILE, Record, SharedFolder
from tests.clusters.backends.test_local_lab import COMMAND, printed
from tests.clusters.backends.test_slurm_faults import lost, next_attempt, number_of
from tests.contracts.backend import (
    MIB,
    ended,
    log_holds,
    log_of,
    look,
    make_spec,
    run,
    running,
    wait_for,
)
from tests.slurm.lab import SlurmLab
from tests.stacks.environments import prepared

pytestmark = pytest.mark.slurm
SERVER = """
import http.server, json, os

class Guarded(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = "token " + os.environ["FASTGPU_SERVE_TOKEN"]
        self.send_response(200 if self.headers["Authorization"] == wanted else 403)
        self.end_headers()

server = http.server.HTTPServer((os.environ["FASTGPU_SERVE_HOST"], 0), Guarded)
with open(os.environ["FASTGPU_SERVE_FILE"], "w") as file:
    json.dump({"port": server.server_port, "host": "203.0.113.9"}, file)
print("listening", flush=True)
server.serve_forever()
"""
SERVES = f"cat > ~/s.py <<'E'\n{SERVER}E\nexec python3 ~/s.py"
CODE = (
    "import os; print(os.getcwd(), os.environ['COLOUR'], os.environ['CUDA_VISIBLE_DEVICES'],"
    " os.environ['FASTGPU_GPU_COUNT'])"
)


@pytest.fixture
def backend(slurm_lab: SlurmLab) -> SlurmBackend:
    """With an environment that has JupyterLab."""
    return SlurmBackend(replace(slurm_lab.settings, environments=prepared("lab")))


@pytest.fixture
def server(backend: SlurmBackend) -> Iterator[LaunchSpec]:
    """An attempt that serves; ended afterwards."""
    spec = serving(SERVES)
    backend.submit(spec)
    yield spec
    backend.stop(spec.external_name, grace_seconds=0)


def serving(command: str, **about: object) -> LaunchSpec:
    """A spec that serves."""
    return replace(make_spec(command), serves=True, **about)  # type: ignore[arg-type]


def reached(backend: SlurmBackend, spec: LaunchSpec, *, seconds: float = 30) -> Endpoint:
    """Where it serves, waited for."""
    found = wait_for(lambda: backend.endpoint(spec.external_name, "lab"), seconds)
    assert found is not None
    return found


def status(endpoint: Endpoint, path: str, token: str) -> int:
    """What the server answers to who says `token`."""
    headers = {"Authorization": f"token {token}"}
    url = f"{endpoint.origin}{path}"
    return httpx.get(url, headers=headers, timeout=30).status_code


def prints(endpoint: Endpoint, code: str) -> str:
    """What the code prints in a new kernel."""
    kernels = f"{endpoint.origin}/api/kernels"
    headers = {"Authorization": f"token {endpoint.token}"}
    made = httpx.post(kernels, json={}, headers=headers, timeout=30).json()
    url = f"{kernels}/{made['id']}/channels".replace("http", "ws", 1)
    with websockets.sync.client.connect(url, additional_headers=headers) as connection:
        return printed(connection, code)


# ---- JupyterLab ----


@pytest.mark.timeout(240)
def test_jupyterlab_serves_a_volume_on_the_gpus_it_was_given(backend: SlurmBackend) -> None:
    backend.make_volume("vol_lab", team_number=7)
    spec = serving(
        COMMAND, environment="lab", volume="vol_lab", gpus=2, env={"COLOUR": "blue"},
        time_limit_seconds=200,
        limits=replace(make_spec("").limits, memory_bytes=1024 * MIB, pids=512, cpu_cores=2.0),
    )  # fmt: skip
    backend.submit(spec)
    try:
        endpoint = reached(backend, spec, seconds=90)
        wait_for(lambda: status(endpoint, "/api", endpoint.token) == 200, 60)
        assert status(endpoint, "/lab", endpoint.token) == 200
        assert status(endpoint, "/fastgpu/use", endpoint.token) == 200
        assert status(endpoint, "/api/contents", "guess") == 403
        workspace = backend.volume_path("vol_lab")
        devices = prints(endpoint, CODE).split()
        assert devices[:2] == [str(workspace), "blue"]
        assert (len(devices[2].split(",")), devices[3]) == (2, "2")
        headers = {"Authorization": f"token {endpoint.token}"}
        url = f"{endpoint.origin}/api/contents/made.txt"
        made = {"type": "file", "format": "text", "content": "here"}
        assert httpx.put(url, json=made, headers=headers, timeout=30).status_code == 201
    finally:
        backend.stop(spec.external_name, grace_seconds=10)
    ended(backend, spec.external_name)
    assert (workspace / "made.txt").read_text() == "here"
    assert endpoint.token.encode() not in log_of(backend, spec.external_name)
    uid = workspace.stat().st_uid
    assert (workspace / "made.txt").stat().st_uid == uid
    left = Path(tempfile.gettempdir()).glob("fastgpu-lab-*")
    assert [path for path in left if path.stat().st_uid == uid] == []


# ---- any server ----


def test_it_is_reached_on_its_node_with_its_token(
    backend: SlurmBackend, server: LaunchSpec
) -> None:
    endpoint = reached(backend, server)
    # The address of every node of the lab; the server has named another.
    assert endpoint.host == "127.0.0.1"
    assert status(endpoint, "/", endpoint.token) == 200
    assert status(endpoint, "/", "guess") == 403


def test_another_process_of_the_portal_knows_the_same(
    backend: SlurmBackend, server: LaunchSpec, slurm_lab: SlurmLab
) -> None:
    restarted = SlurmBackend(slurm_lab.settings)
    assert reached(restarted, server) == reached(backend, server)


def test_nothing_is_known_before_it_says_its_port_and_after_its_end(backend: SlurmBackend) -> None:
    spec = serving(f"until [ -e ~/go ]; do sleep 0.1; done; {SERVES}")
    assert backend.endpoint(spec.external_name, "lab") is None
    backend.submit(spec)
    wait_for(lambda: (seen := look(backend, spec.external_name)) and seen.phase is Phase.RUNNING)
    assert backend.endpoint(spec.external_name, "lab") is None
    home = Path(f"{backend._settings.root}/attempts/{spec.external_name}/starts/0/home")
    (home / "go").touch()
    endpoint = reached(backend, spec)
    assert backend.endpoint(spec.external_name, "../lab") is None
    assert backend.endpoint(spec.external_name, "terminal") is None
    backend.stop(spec.external_name, grace_seconds=0)
    ended(backend, spec.external_name)
    assert backend.endpoint(spec.external_name, "lab") is None
    with pytest.raises(httpx.ConnectError):
        status(endpoint, "/", endpoint.token)


def test_a_plain_job_finds_no_token_and_has_no_server(backend: SlurmBackend) -> None:
    spec = make_spec("env | grep -c FASTGPU_SERVE; echo '{\"port\": 8080}' > ../port; sleep 60")
    backend.submit(spec)
    log_holds(backend, spec.external_name, b"0\n")
    wait_for(lambda: (seen := look(backend, spec.external_name)) and seen.phase is Phase.RUNNING)
    assert backend.endpoint(spec.external_name, "lab") is None
    backend.stop(spec.external_name, grace_seconds=0)


def test_no_variable_of_the_users_takes_their_place(backend: SlurmBackend) -> None:
    users = {"FASTGPU_SERVE_HOST": "0.0.0.0", "FASTGPU_SERVE_TOKEN": "x"}
    spec = serving("echo $FASTGPU_SERVE_HOST; test ${#FASTGPU_SERVE_TOKEN} -gt 30", env=users)
    assert run(backend, spec).exit_code == 0
    assert log_of(backend, spec.external_name) == b"127.0.0.1\n"


def test_what_serves_runs_on_one_node(backend: SlurmBackend) -> None:
    with pytest.raises(LaunchRefused, match="one node"):
        backend.submit(serving("true", nodes=2))


@pytest.mark.timeout(240)
def test_after_the_loss_of_its_node_the_next_attempt_serves_and_the_first_does_not(
    slurm_lab: SlurmLab, backend: SlurmBackend
) -> None:
    spec = serving(SERVES, time_limit_seconds=300)
    backend.submit(spec)
    before = reached(backend, spec)
    node = number_of(slurm_lab, running(backend, spec.external_name).node)
    slurm_lab.kill_node(node)
    try:
        assert lost(backend, spec.external_name).reason is EndReason.NODE_LOST
        second = next_attempt(spec)
        backend.submit(second)
        after = reached(backend, second, seconds=60)
        assert status(after, "/", after.token) == 200
        assert after.port != before.port
        assert backend.endpoint(spec.external_name, "lab") is None
        backend.stop(second.external_name, grace_seconds=0)
    finally:
        slurm_lab.heal()


# ---- the SDK ----


def test_every_job_can_import_the_sdk_after_what_is_the_users_own(backend: SlurmBackend) -> None:
    code = "import fastgpu; print(fastgpu.__file__)"
    plain = make_spec(f"python3 -c '{code}'")
    run(backend, plain)
    lib = f"{backend.volume_path('x').parents[1]}/lib/sdk-"
    assert log_of(backend, plain.external_name).decode().startswith(lib)
    own = make_spec(
        f"mkdir -p lib/fastgpu; touch lib/fastgpu/__init__.py; python3 -c '{code}'",
        env={"PYTHONPATH": "lib"},
    )
    run(backend, own)
    assert log_of(backend, own.external_name).endswith(b"/home/lib/fastgpu/__init__.py\n")


def test_the_same_sdk_is_put_there_once(slurm_lab: SlurmLab, backend: SlurmBackend) -> None:
    for _ in range(2):
        run(backend, make_spec("true"))
        run(SlurmBackend(slurm_lab.settings), make_spec("true"))
    assert len(list((slurm_lab.root / "lib").glob("sdk-*.zip"))) == 1


# ---- secrets ----


def test_neither_token_nor_variables_are_seen_by_others(slurm_lab: SlurmLab) -> None:
    tools, calls = slurm_lab.folder / "recording", slurm_lab.folder / "recorded"
    tools.mkdir()
    calls.touch()
    calls.chmod(0o666)
    for name in ("env", "setsid", "python3", "scontrol"):
        # What a process was started with is for everybody to see, as long as it lives.
        words = f'#!/bin/sh\necho "{name} $*" >> {calls}\nexec /usr/bin/{name} "$@"\n'
        (tools / name).write_text(words)
        (tools / name).chmod(0o755)
    backend = SlurmBackend(replace(slurm_lab.settings, bin=tools))
    spec = serving(SERVES, env={"KEY": "only-for-the-team"})
    seen = backend.submit(spec)
    endpoint = reached(backend, spec)
    ps = ["ps", "-eww", "-o", "args"]
    said = [
        slurm_lab.run("scontrol", "--details", "show", "job", seen.engine_id),
        slurm_lab.run("scontrol", "write", "batch_script", seen.engine_id, "-"),
        slurm_lab.run("squeue", "--job", seen.engine_id, "--format=%all"),
        subprocess.run(ps, capture_output=True, text=True, check=True).stdout,
        calls.read_text(),
    ]
    backend.stop(spec.external_name, grace_seconds=0)
    assert all(len(words) > 100 for words in said)
    assert str(slurm_lab.root / "attempts" / spec.external_name) in said[-1]
    for words in said:
        assert endpoint.token not in words
        assert "only-for-the-team" not in words


def test_nothing_of_what_starts_a_command_is_left_in_it(backend: SlurmBackend) -> None:
    spec = make_spec("env | grep -c ^LC_; env | grep FASTGPU_FOLDER; grep SigIgn /proc/self/status")
    run(backend, spec)
    variables, ignored = log_of(backend, spec.external_name).split(b"\n", 1)
    assert variables == b"0"
    # Broken pipes and files that grow too large end a process, as everywhere.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not int(ignored.split()[1], 16) >> (number - 1) & 1


def test_the_token_is_the_teams_and_the_portals(
    backend: SlurmBackend, server: LaunchSpec, slurm_lab: SlurmLab
) -> None:
    token = reached(backend, server).token
    folder = slurm_lab.root / "attempts" / server.external_name
    spy = make_spec(f"cat {folder}/in/env {folder}/record.json {folder}/starts/0/port", team=8)
    run(backend, spy)
    assert log_of(backend, spy.external_name).count(b"Permission denied") == 3
    holding = [path for path in folder.rglob("*") if path.is_file() and holds(path, token)]
    assert {path.relative_to(folder).as_posix() for path in holding} == {"in/env", "record.json"}


def holds(path: Path, token: str) -> bool:
    """Whether the token stands in it."""
    return token.encode() in path.read_bytes()


# ---- what hostile code says of its port ----


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of an attempt's first start."""
    made = tmp_path / "attempts" / "fg-a-1" / "starts" / "0"
    made.mkdir(parents=True)
    return made


def port_said(place: Path) -> int | None:
    """What the portal reads."""
    record = Record(
        name="fg-a-1", user="x", uid=os.geteuid(), time_limit=1, nodes=1, tried_at=0.0,
        origin="fg-a-1",
    )  # fmt: skip
    return SharedFolder(place.parents[3]).answer(record, PORT_FILE).port


@pytest.mark.parametrize("port", [1024, 40_000, 65_535])
def test_a_port_is_read(place: Path, port: int) -> None:
    (place / "port").write_text(json.dumps({"port": port, "more": "words"}))
    assert port_said(place) == port


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "8080", "[8080]", "null", '{"port": "8080"}', '{"port": true}', '{"port": 8080.0}',
        '{"port": 1023}', '{"port": 65536}', '{"port": -8080}', '{"port": 0}', '{"Port": 8080}',
        '{"port": 8080}' + " " * 1000 + "x", "[" * 190, '{"port": 1' + "0" * 180 + "}", "\udcff",
    ],
)  # fmt: skip
def test_what_is_no_port_is_none(place: Path, content: str) -> None:
    (place / "port").write_bytes(content.encode(errors="surrogateescape"))
    assert port_said(place) is None


def test_a_link_a_pipe_and_a_folder_are_none(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text('{"port": 8080}')
    (place / "port").symlink_to(tmp_path / "elsewhere")
    assert port_said(place) is None
    (place / "port").unlink()
    os.mkfifo(place / "port")
    assert port_said(place) is None
    (place / "port").unlink()
    (place / "port").mkdir()
    assert port_said(place) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_another_user_is_none(place: Path) -> None:
    (place / "port").write_text('{"port": 8080}')
    os.chown(place / "port", 65_534, 65_534)
    assert port_said(place) is None
