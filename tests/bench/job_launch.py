"""From the API call to the first line of the user's code, against the same sandbox without us."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from clusters.backends.base import LaunchSpec, Limits
from clusters.backends.local import confine, gpus, plan, watch
from clusters.backends.local.probe import Probe
from clusters.backends.local.settings import LocalSettings
from tests.bench.stack import Stack, launch, wait_for_end
from tests.bench.table import Figure

COMMAND = "date +%s%N"
GOAL_MS = 100.0
GIB = 1024**3


def measure(stack: Stack, rounds: int) -> Figure:
    """Ours and bare in turns; medians."""
    ours, bare = [], []
    with tempfile.TemporaryDirectory(prefix="fastgpu-bare-") as folder, stack.api() as api:
        engine = Bare(Path(folder))
        for number in range(rounds + 1):
            figures = _through_the_portal(api), engine.run(number)
            if number:  # the first pair only warms up
                ours.append(figures[0])
                bare.append(figures[1])
    difference = statistics.median(ours) - statistics.median(bare)
    return Figure(
        f"job_launch (median of {rounds})",
        f"{statistics.median(ours):.0f} ms",
        f"{statistics.median(bare):.0f} ms bare",
        f"+{difference:.0f} ms",
        f"<= +{GOAL_MS:.0f} ms",
        difference <= GOAL_MS,
    )


def _through_the_portal(api: httpx.Client) -> float:
    """Milliseconds by the clock the command itself printed."""
    began = time.time_ns()
    job = launch(api, "bench launch", COMMAND, seconds=60)
    wait_for_end(api, job)
    text = api.get(f"/jobs/{job}/logs").json()["text"]
    return (int(text.split()[0]) - began) / 1e6


class Bare:
    """Starts the local backend's sandbox as its supervisor would, and nothing around it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.chmod(0o700)
        self._settings = LocalSettings(
            root=folder,
            environments=folder / "environments",
            virtual_gpus=1,
            allow_insecure=False,
            uid_base=210_000,
        )
        self._capability = Probe(self._settings).capability()
        if self._capability.bwrap is None:
            raise RuntimeError(self._capability.problem)

    def run(self, number: int) -> float:
        """Milliseconds from the fork to the clock the command printed."""
        found = gpus.virtual(self._folder, 1)
        spec = LaunchSpec(
            external_name=f"bare-{number}",
            run_id="job_bare",
            attempt_number=1,
            team_number=1,
            gpus=1,
            gpu_uuids=(found[0].description.uuid,),
            environment="system",
            command=COMMAND,
            time_limit_seconds=60,
            grace_seconds=1,
            network=False,
            limits=Limits(4 * GIB, 512, 1.0, 10 * GIB, 64 << 20),
        )
        attempt = self._folder / spec.external_name
        attempt.mkdir(mode=0o700)
        plan.prepare(spec, self._settings, attempt, self._capability, found)
        document = json.loads((attempt / "spec.json").read_bytes())
        try:
            began, text = _fork(attempt, document)
        finally:
            watch.empty_cgroups(document["cgroups"])
            watch.remove_cgroups(document["cgroups"])
        if not text.strip().isdigit():
            raise RuntimeError(f"the bare sandbox said {text[:300]!r}")
        return (int(text.split()[0]) - began) / 1e6


def _fork(attempt: Path, document: dict[str, object]) -> tuple[int, bytes]:
    (output, output_end), (start, start_end), (status, status_end) = (os.pipe() for _ in range(3))
    began = time.time_ns()
    child = os.fork()
    if not child:
        os.chdir(attempt)
        confine.become_sandbox(document, output_end, start_end, status_end, None)
    for end in (output_end, start_end, status_end):
        os.close(end)
    with os.fdopen(output, "rb") as stream:
        text = stream.read()
    os.close(start)
    os.close(status)
    os.waitpid(child, 0)
    return began, text
