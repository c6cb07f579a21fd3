"""From the launch of a notebook to its server's answer, against `jupyter server` and JupyterHub.

Ours is measured from before the API call to the first answer of `/api`: cold, in an environment of
which nothing stands by, and warm, in one of which a server does. Bare is a start of
`jupyter server` as root in the same environment, to its own first answer; against it counts ours at
the attempt's socket. A JupyterHub launches the same versions, as root too and with nothing around
them, and answers through its proxy; against it counts ours through ours, with the call that gets a
token for that.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.hub import PATIENCE_SECONDS, Hub, running, wait_until
from tests.bench.stack import Stack
from tests.bench.table import Figure
from tests.stacks.environments import prepared

COLD, WARM = "lab-cold", "lab-warm"
"""Two names for one environment; tests/bench/settings.py lets servers stand by of the second."""
COLD_GOAL, WARM_GOAL, HUB_GOAL = 1.10, 0.15, 1.0
MOST_ROUNDS = 4
HUB = "jupyterhub"


@dataclass(frozen=True, slots=True)
class Launch:
    """Seconds from the call to the answer at the server's socket, and to that through the proxy."""

    at_socket: float
    through_proxy: float


def measure(stack: Stack, rounds: int) -> list[Figure]:
    """Bare, JupyterHub, cold and warm in turns; medians."""
    environment = prepared("lab") / "lab"
    for name in (COLD, WARM):
        (stack.environments / name).symlink_to(environment)
    stack.ask(
        f"UPDATE clusters_pool SET environments = environments || '{{{COLD},{WARM}}}'::varchar[] "
        "WHERE slug = 'a100' RETURNING id"
    )
    wait_until("the pool offers the environments", lambda: _is_offered(stack))
    rounds = min(rounds, MOST_ROUNDS)
    python = environment / "bin" / "python"
    with stack.api() as api, running() as hub:
        # The first of each only warms up.
        each = [_round(stack, api, hub, python) for _ in range(rounds + 1)][1:]
    return _figures(each, rounds)


def _round(stack: Stack, api: httpx.Client, hub: Hub | None, python: Path) -> dict[str, Launch]:
    bare = _bare(python)
    found = {"bare": Launch(bare, bare)}
    if hub is not None:
        took = hub.launch()
        found[HUB] = Launch(took, took)
    for name in (COLD, WARM):
        wait_until("a server stands by", lambda: _stands_by(stack))
        found[name] = _launch(stack, api, name)
    return found


def _figures(rounds: list[dict[str, Launch]], number: int) -> list[Figure]:
    def median(name: str) -> Launch:
        took = [each[name] for each in rounds]
        return Launch(
            statistics.median(one.at_socket for one in took),
            statistics.median(one.through_proxy for one in took),
        )

    bare, cold, warm = (median(name).at_socket for name in ("bare", COLD, WARM))
    figures = [
        _figure(f"notebook_cold (median of {number})", cold, bare, COLD_GOAL),
        _figure(f"notebook_warm (median of {number})", warm, bare, WARM_GOAL),
    ]
    if HUB in rounds[0]:
        theirs = median(HUB).through_proxy
        figures += [
            _beside_hub("notebook, cold: ours vs JupyterHub", median(COLD), theirs),
            _beside_hub("notebook, warm: ours vs JupyterHub", median(WARM), theirs),
        ]
    return figures


def _beside_hub(name: str, ours: Launch, theirs: float) -> Figure:
    ratio = ours.through_proxy / theirs
    return Figure(
        name,
        f"{ours.through_proxy:.2f} s",
        f"{theirs:.2f} s JupyterHub 5 with CHP",
        f"{ratio:.2f}x",
        f"<= {HUB_GOAL:.0f}x",
        ratio <= HUB_GOAL,
    )


def _figure(name: str, ours: float, bare: float, goal: float) -> Figure:
    ratio = ours / bare
    return Figure(
        name,
        f"{ours:.2f} s",
        f"{bare:.2f} s jupyter server",
        f"{ratio:.2f}x",
        f"<= {goal:.2f}x",
        ratio <= goal,
    )


def _launch(stack: Stack, api: httpx.Client, environment: str) -> Launch:
    """One notebook, which has ended when this returns."""
    body = {"name": "bench", "pool": "a100", "gpus": 1, "environment": environment}
    began = time.monotonic()
    answer = api.post("/notebooks", json=body)
    if answer.status_code != 201:
        raise RuntimeError(f"the notebook was refused: {answer.text[:500]}")
    notebook = answer.json()["id"]
    ((name,),) = stack.ask(
        "SELECT external_name FROM clusters_attempt a JOIN clusters_workload w "
        f"ON a.workload_id = w.id WHERE w.public_id = '{notebook}'"
    )
    door = stack.var / "local" / "attempts" / name / "serve" / "lab.sock"
    wait_until("the notebook answers", lambda: _answers(door))
    at_socket = time.monotonic() - began
    wait_until("it is served", lambda: _is_served(stack, notebook))
    grant = api.post(f"/notebooks/{notebook}/access").raise_for_status().json()
    wait_until("its address answers", lambda: _answers_at(grant))
    took = Launch(at_socket, time.monotonic() - began)
    api.post(f"/notebooks/{notebook}/stop").raise_for_status()
    wait_until("it has ended", lambda: not (door.parents[1] / "placement.json").exists())
    return took


def _is_served(stack: Stack, notebook: str) -> bool:
    """Whether the proxy has found that it answers."""
    return bool(
        stack.ask(
            "SELECT 1 FROM clusters_app a JOIN clusters_workload w ON a.workload_id = w.id "
            f"WHERE w.public_id = '{notebook}' AND a.state = 'ready'"
        )
    )


def _answers_at(grant: dict[str, str]) -> bool:
    """Whether the proxy leads who has this token to a server that says 200."""
    url = httpx.URL(grant["url"])
    # The name need not be known to the resolver of this machine.
    answer = httpx.get(
        url.copy_with(host="127.0.0.1", path=f"{url.path.rstrip('/')}/api"),
        headers={"Authorization": f"token {grant['token']}", "Host": url.netloc.decode()},
    )
    return answer.status_code == 200


def _bare(python: Path) -> float:
    """Seconds from the start of the process to the answer."""
    with tempfile.TemporaryDirectory(prefix="fastgpu-bare-") as folder:
        door = Path(folder) / "lab.sock"
        command = [
            str(python), "-m", "jupyter_server", "--allow-root", "--no-browser",
            f"--ServerApp.sock={door}", "--IdentityProvider.token=bench",
            f"--ServerApp.root_dir={folder}",
        ]  # fmt: skip
        env = {"HOME": folder, "PATH": os.defpath, "LANG": "C.UTF-8"}
        began = time.monotonic()
        server = subprocess.Popen(
            command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until("jupyter server answers", lambda: _answers(door))
            return time.monotonic() - began
        finally:
            server.kill()
            server.wait()


def _answers(door: Path) -> bool:
    """Whether a server says 200 at this socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.connect(str(door))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        connection.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in connection.recv(64)


def _is_offered(stack: Stack) -> bool:
    """Whether the portal has seen both since they were put there."""
    return bool(
        stack.ask(
            f"SELECT 1 FROM clusters_pool WHERE present_environments @> '{{{COLD},{WARM}}}'"
            "::varchar[] AND slug = 'a100'"
        )
    )


def _stands_by(stack: Stack) -> bool:
    """Whether one does, and none is starting."""
    states = list((stack.var / "local" / "standby").glob(f"{WARM}-*/state.json"))
    return bool(states) and all(b"ready_at" in state.read_bytes() for state in states)
