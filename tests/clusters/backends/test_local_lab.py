"""JupyterLab as FastGPU starts it: in a sandbox, ahead of being wanted, and at a port."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import websockets.sync.client
from websockets.sync.client import ClientConnection

from clusters.backends.base import Endpoint, LaunchSpec, Limits
from clusters.backends.capabilities import StandbyWish
from clusters.backends.dial import dial
from clusters.backends.local.backend import LocalBackend
from clusters.backends.local.shown import SDK_HERE
from tests.clusters.backends.machine import ending_all, needs_root, settings_of
from tests.clusters.backends.standing import stand_by, was_claimed
from tests.clusters.backends.test_local_standby import ends_all, standing
from tests.contracts.backend import MIB, log_of, make_spec, wait_for
from tests.stacks.environments import prepared

pytestmark = pytest.mark.sandbox
COMMAND = "exec python -m fastgpu.lab"
CODE = "import os; print(os.getcwd(), os.environ['COLOUR'], os.environ['FASTGPU_ATTEMPT'])"


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    """A local backend with an environment that has JupyterLab, and a volume."""
    (root / "environments").mkdir()
    (root / "environments" / "lab").symlink_to(prepared("lab") / "lab")
    made = LocalBackend(settings_of(root))
    made.make_volume("data", team_number=7)
    with ending_all(made, root):
        yield made
        if os.geteuid() == 0:
            ends_all(made, root)


def notebook() -> LaunchSpec:
    """A notebook with that volume."""
    spec = make_spec(COMMAND, environment="lab", memory=512 * MIB, env={"COLOUR": "blue"})
    return replace(spec, serves=True, volume="data")


class Server:
    """JupyterLab, as the proxy speaks with it."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        assert endpoint is not None
        self.endpoint = endpoint
        self.headers = {"Authorization": f"token {endpoint.token}"}

    def ask(self, method: str, path: str, **content: object) -> httpx.Response:
        """One answer, with the token."""
        with dial(self.endpoint) as socket:
            transport = httpx.HTTPTransport(uds=socket)
            with httpx.Client(transport=transport, headers=self.headers) as client:
                body = content or None
                return client.request(method, f"http://lab{path}", json=body, timeout=30)

    def answers(self) -> bool:
        """Whether there is one."""
        try:
            return self.ask("GET", "/api").status_code == 200
        except (FileNotFoundError, httpx.ConnectError):
            return False

    def prints(self, code: str) -> str:
        """What the code prints in a new kernel."""
        kernel = self.ask("POST", "/api/kernels", name="python3").json()["id"]
        with dial(self.endpoint) as socket:
            connection = websockets.sync.client.unix_connect(
                socket, f"ws://lab/api/kernels/{kernel}/channels", additional_headers=self.headers
            )
        with connection:
            return printed(connection, code)


def printed(connection: ClientConnection, code: str) -> str:
    """What the kernel at the other end prints, running the code."""
    connection.send(_request(code))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = json.loads(connection.recv(timeout=60))
        if message["msg_type"] == "stream":
            return str(message["content"]["text"])
    pytest.fail("the kernel printed nothing")


def _request(code: str) -> str:
    """What asks a kernel to run the code, in Jupyter's protocol."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3",
              "username": "", "session": uuid.uuid4().hex, "date": ""}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {},
               "allow_stdin": False, "stop_on_error": True}  # fmt: skip
    return json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
                       "channel": "shell", "buffers": []})  # fmt: skip


def works(backend: LocalBackend, spec: LaunchSpec) -> None:
    """The notebook is what it should be, however it was started."""
    # A container takes its time before its command begins.
    server = Server(wait_for(lambda: backend.endpoint(spec.external_name, "lab"), 60))
    wait_for(server.answers, 60)
    assert server.ask("GET", "/lab").status_code == 200
    assert server.prints(CODE) == "/workspace blue 2\n"
    server.ask("PUT", "/api/contents/made.txt", type="file", format="text", content="here")
    assert (backend.volume_path("data") / "made.txt").read_text() == "here"
    server.headers = {}
    assert server.ask("GET", "/api/contents").status_code == 403
    log = log_of(backend, spec.external_name)
    assert server.endpoint.token.encode() not in log
    assert backend.list_files(spec.external_name) == [] or all(
        file.path.startswith(".") for file in backend.list_files(spec.external_name)
    )


def test_it_serves_the_volume_with_the_specs_variables(backend: LocalBackend) -> None:
    spec = notebook()
    backend.submit(spec)
    works(backend, spec)


@needs_root
def test_one_that_stood_by_is_no_different(backend: LocalBackend, root: Path) -> None:
    limits = Limits(
        memory_bytes=256 * MIB, pids=64, cpu_cores=1.0, disk_bytes=64 * MIB, log_bytes=MIB
    )
    stand_by(backend, StandbyWish("lab", COMMAND, 1, limits))
    (folder,) = standing(root)
    assert [path.name for path in (folder / "home").iterdir() if not path.is_dir()] == []
    spec = notebook()
    backend.submit(spec)
    # It answers by the time it is somebody's: nothing is waited for.
    assert Server(backend.endpoint(spec.external_name, "lab")).answers()
    assert was_claimed(root / "local", spec.external_name)
    works(backend, spec)


def test_at_a_port_it_tells_which(tmp_path: Path) -> None:
    file = tmp_path / "port.json"
    env = {
        "HOME": str(tmp_path), "PYTHONPATH": str(SDK_HERE.parent), "PATH": "/usr/bin:/bin",
        "FASTGPU_SERVE_HOST": "127.0.0.1", "FASTGPU_SERVE_FILE": str(file),
        "FASTGPU_SERVE_TOKEN": "secret",
    }  # fmt: skip
    python = str(prepared("lab") / "lab" / "bin" / "python")
    process = subprocess.Popen([python, "-m", "fastgpu.lab"], env=env, cwd=tmp_path)
    try:
        wait_for(file.exists, 60)
        url = f"http://127.0.0.1:{json.loads(file.read_text())['port']}/api/contents"

        def status(token: str) -> int:
            headers = {"Authorization": f"token {token}"}
            return httpx.get(url, headers=headers, timeout=30).status_code

        assert (status("secret"), status("guess")) == (200, 403)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("missing", ["FASTGPU_SERVE_TOKEN", "FASTGPU_SERVE_SOCKET"])
def test_without_fastgpus_variables_it_says_so(tmp_path: Path, missing: str) -> None:
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(SDK_HERE.parent),
           "FASTGPU_SERVE_TOKEN": "x", "FASTGPU_SERVE_SOCKET": "/x"}  # fmt: skip
    del env[missing]
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "fastgpu.lab"],
        check=False, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not set" in done.stderr
