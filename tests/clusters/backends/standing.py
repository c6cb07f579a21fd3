"""Attempts that are servers which stood by, for tests that want one to run any command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clusters.backends.base import LaunchSpec, Limits, Observation
from clusters.backends.capabilities import StandbyWish
from clusters.backends.local.backend import LocalBackend
from tests.contracts.backend import MIB, wait_for

SERVER = """exec /usr/bin/python3 -c '
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["FASTGPU_SERVE_SOCKET"])
listener.listen()
if "FASTGPU_STANDBY" in os.environ:
    from fastgpu.lab.handover import Handover
    print("not the attempt", flush=True)
    open(os.environ["HOME"] + "/not-the-attempts", "w").close()
    handover = Handover(os.environ)
    handover.say_ready()
    handover.take() or sys.exit(1)
    handover.say_claimed()
os.chdir(os.environ.get("FASTGPU_WORKSPACE") or os.environ["HOME"])
os.execv("/bin/bash", ["bash", "-c", os.environ["RUN"]])
'"""
"""A server that listens and, once it is somebody's, runs what its variable RUN says."""
LIMITS = Limits(
    memory_bytes=64 * MIB, pids=32, cpu_cores=1.0, disk_bytes=8 * MIB, log_bytes=1 * MIB
)


def wish(environment: str = "", *, count: int = 1, command: str = SERVER) -> StandbyWish:
    """Such servers, with little of anything."""
    return StandbyWish(environment, command, count, LIMITS)


def serving(spec: LaunchSpec) -> LaunchSpec:
    """What the spec wants, done by such a server."""
    return replace(spec, command=SERVER, serves=True, env={**spec.env, "RUN": spec.command})


def stand_by(backend: LocalBackend, *wishes: StandbyWish) -> None:
    """Wait until all that is wished for stands by."""
    wait_for(
        lambda: [s.ready for s in backend.keep_standbys(wishes)] == [w.count for w in wishes], 60
    )


def was_claimed(root: Path, name: str) -> bool:
    """Whether the attempt is a server that stood by, and was not started anew."""
    folder = root / "attempts" / name
    words = (folder / "supervisor.log").read_text()
    print(words)
    return (folder / "standby.log").exists() and "anew" not in words


class Claiming(LocalBackend):
    """A local backend for which something always stands by."""

    def submit(self, spec: LaunchSpec) -> Observation:
        """Claim what stands by. What cannot be asked of SERVER is started as ever."""
        root = self.volume_path("x").parents[1]
        if len(spec.command) > 100_000 or spec.environment == "no-such":
            return super().submit(spec)
        is_new = not (root / "attempts" / spec.external_name).exists()
        if is_new:
            stand_by(self, wish(spec.environment))
        seen = super().submit(serving(spec))
        assert was_claimed(root, spec.external_name) or not is_new
        return seen
