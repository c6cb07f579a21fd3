"""A JupyterHub 5 behind configurable-http-proxy, to launch notebooks in beside ours.

Its servers run the versions of JupyterLab that tests/environments/lab.txt names, as processes of
the hub's own user: no PAM, no change of user, nothing around them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from portal.lib.env import env_path
from tests.bench.proxies import chp_program
from tests.clusters.proxy.process import ROOT
from tests.ports import free_port
from tests.stacks.environments import LOCKS, PYTHON

PACKAGE = "jupyterhub==5.*"
USER = "bench"
PATIENCE_SECONDS = 60.0
INSTALL_SECONDS = 600.0
_END_SECONDS = 10.0
_CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
c.JupyterHub.log_level = "ERROR"
c.ConfigurableHTTPProxy.command = {chp!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {{"{user}"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{
    "name": "bench", "services": ["bench"],
    "scopes": ["admin:users", "admin:servers", "access:servers"],
}}]
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """One that runs; `url` is its proxy's."""

    url: str
    token: str

    def launch(self) -> float:
        """Seconds from the call to the server's answer through the proxy.

        The server has ended when this returns. Raises RuntimeError when it does not come or go.
        """
        headers = {"Authorization": f"token {self.token}"}
        server = f"/hub/api/users/{USER}/server"
        with httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS) as client:
            began = time.monotonic()
            client.post(server).raise_for_status()
            wait_until(
                "a server of JupyterHub answers",
                lambda: client.get(f"/user/{USER}/api").status_code == 200,
            )
            took = time.monotonic() - began
            client.delete(server).raise_for_status()
            wait_until("it has ended", lambda: not self._servers(client))
        return took

    def _servers(self, client: httpx.Client) -> object:
        return client.get(f"/hub/api/users/{USER}").raise_for_status().json()["servers"]


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """Look every few milliseconds; RuntimeError that names `what` when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(0.005)


@contextmanager
def running() -> Iterator[Hub | None]:
    """A hub for the length of the block; None, with a word on stderr, where none can be had."""
    chp, python = chp_program(), _installed()
    if chp is None or python is None:
        sys.stderr.write("JupyterHub is left out: it or its proxy cannot be had here.\n")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="fastgpu-hub-") as folder:
        yield from _running(Path(folder), python, chp)


def _running(folder: Path, python: Path, chp: Sequence[str]) -> Iterator[Hub]:
    hub = Hub(f"http://127.0.0.1:{free_port()}", secrets.token_hex(32))
    config = folder / "config.py"
    config.write_text(
        _CONFIG.format(
            port=hub.url.rpartition(":")[2], hub_port=free_port(), proxy_port=free_port(),
            folder=folder, chp=list(chp), user=USER, python=str(python), token=hub.token,
        )
    )  # fmt: skip
    (folder / "homes").mkdir()
    log = folder / "log"
    command = [str(python), "-m", "jupyterhub", "-f", str(config)]
    env = {"HOME": str(folder), "PATH": f"{python.parent}:{os.defpath}", "LANG": "C.UTF-8"}
    with log.open("wb") as output:
        process = psutil.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
    try:
        wait_until("JupyterHub answers", lambda: process.poll() is not None or _answers(hub))
        if process.poll() is not None:
            raise RuntimeError(f"JupyterHub: {log.read_text(errors='replace')[-1000:]}")
        _make_user(hub)
        yield hub
    finally:
        _end(process)


def _answers(hub: Hub) -> bool:
    try:
        return httpx.get(f"{hub.url}/hub/api/").status_code == 200
    except httpx.TransportError:
        return False


def _make_user(hub: Hub) -> None:
    headers = {"Authorization": f"token {hub.token}"}
    answer = httpx.post(f"{hub.url}/hub/api/users/{USER}", headers=headers)
    if answer.status_code not in (201, 409):
        raise RuntimeError(f"JupyterHub makes no user: {answer.text[:300]}")


def _end(process: psutil.Popen) -> None:
    """End the hub, and what it has started and left: its proxy and its servers."""
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=_END_SECONDS)
    for each in left:
        each.kill()
    psutil.wait_procs(left, timeout=_END_SECONDS)


def _installed() -> Path | None:
    """The interpreter of an environment with JupyterHub and the lab; made the first time."""
    lock = LOCKS / "lab.txt"
    digest = hashlib.sha256(lock.read_bytes() + PACKAGE.encode()).hexdigest()[:12]
    folder = env_path("VAR_DIR", ROOT / "var") / "bench" / f"jupyterhub-{digest}"
    python, done = folder / "bin" / "python", folder / "installed"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python"]
    install = [*pip, str(python), "install", "--only-binary", ":all:"]
    steps = ([PYTHON, "-m", "venv", "--without-pip", "--clear", str(folder)],
             [*install, "-r", str(lock)], [*install, PACKAGE])  # fmt: skip
    for command in steps if not done.exists() else ():
        made = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
        if made.returncode:
            sys.stderr.write(f"JupyterHub cannot be had: {made.stderr[-300:]}\n")
            return None
    done.touch()
    return python
