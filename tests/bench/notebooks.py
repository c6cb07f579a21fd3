"""From the launch of a notebook to its server's answer, against a bare `jupyter server`.

Ours is measured from before the API call to the first answer of `/api` at the attempt's socket:
cold, in an environment of which nothing stands by, and warm, in one of which a server does. Bare is
a start of `jupyter server` as root in the same environment, to its own first answer.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.bench.stack import Stack
from tests.bench.table import Figure
from tests.stacks.environments import prepared

COLD, WARM = "lab-cold", "lab-warm"
"""Two names for one environment; tests/bench/settings.py lets servers stand by of the second."""
COLD_GOAL, WARM_GOAL = 1.10, 0.15
MOST_ROUNDS = 4
PATIENCE_SECONDS = 60.0


def measure(stack: Stack, rounds: int) -> list[Figure]:
    """Bare, cold and warm in turns; medians."""
    environment = prepared("lab") / "lab"
    for name in (COLD, WARM):
        (stack.var / "environments" / name).symlink_to(environment)
    stack.ask(
        f"UPDATE clusters_pool SET environments = environments || '{{{COLD},{WARM}}}'::varchar[] "
        "WHERE slug = 'a100' RETURNING id"
    )
    times: dict[str, list[float]] = {"bare": [], COLD: [], WARM: []}
    rounds = min(rounds, MOST_ROUNDS)
    with stack.api() as api:
        for number in range(rounds + 1):
            found = {"bare": _bare(environment / "bin" / "python")}
            for name in (COLD, WARM):
                _wait("a server stands by", lambda: _stands_by(stack))
                found[name] = _launch(stack, api, name)
            if number:  # the first of each only warms up
                for name, took in found.items():
                    times[name].append(took)
    bare = statistics.median(times["bare"])
    return [
        _figure(f"notebook_cold (median of {rounds})", times[COLD], bare, COLD_GOAL),
        _figure(f"notebook_warm (median of {rounds})", times[WARM], bare, WARM_GOAL),
    ]


def _figure(name: str, ours: list[float], bare: float, goal: float) -> Figure:
    ratio = statistics.median(ours) / bare
    return Figure(
        name,
        f"{statistics.median(ours):.2f} s",
        f"{bare:.2f} s jupyter server",
        f"{ratio:.2f}x",
        f"<= {goal:.2f}x",
        ratio <= goal,
    )


def _launch(stack: Stack, api: httpx.Client, environment: str) -> float:
    """Seconds from the call to the answer; the notebook has ended when this returns."""
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
    _wait("the notebook answers", lambda: _answers(door))
    took = time.monotonic() - began
    api.post(f"/notebooks/{notebook}/stop").raise_for_status()
    _wait("it has ended", lambda: not (door.parents[1] / "placement.json").exists())
    return took


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
            _wait("jupyter server answers", lambda: _answers(door))
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


def _stands_by(stack: Stack) -> bool:
    """Whether one does, and none is starting."""
    states = list((stack.var / "local" / "standby").glob(f"{WARM}-*/state.json"))
    return bool(states) and all(b"ready_at" in state.read_bytes() for state in states)


def _wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(0.005)
