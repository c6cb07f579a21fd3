"""Launches on a real Slurm through the portal and by `sbatch` alone, in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.bench.stack import Stack, launch, wait_for_end
from tests.bench.table import Figure
from tests.slurm.lab import SlurmLab

COMMAND = "date +%s%N"
GOAL_MS = 100.0
BURST = 200
CALLERS = 20
GOAL_RATIO = 1.3
# Room for the whole burst at once: what is measured is the way there, not the queue.
GPUS_PER_NODE = 64
PATIENCE_SECONDS = 120.0
POOL = (
    "--slug=slurm", "--name=Slurm", "--backend=slurm", "--gpu-model=NVIDIA A100", "--price=0.01",
    "--option=partition=gpu", "--option=gpu_type=a100", "--max-gpus=8",
    "--memory-gib-per-gpu=1", "--cores-per-gpu=1", "--environment=system",
)  # fmt: skip


def lab() -> SlurmLab:
    """A Slurm with room for the burst."""
    return SlurmLab(gpus=GPUS_PER_NODE)


class Bare:
    """`sbatch` by hand, as the Unix user a team's jobs run as."""

    def __init__(self, lab: SlurmLab, team_number: int) -> None:
        self._lab = lab
        self._user = lab.add_user(team_number)
        self._folder = Path(tempfile.mkdtemp(prefix="fastgpu-sbatch-", dir=lab.folder))
        self._folder.chmod(0o777)

    def submit(self, number: int) -> Path:
        """Submit one; returns the file its line will stand in."""
        output = self._folder / f"{number}.out"
        options = ["--parsable", "-p", "gpu", "--gres=gpu:a100:1", "-c", "1", "--mem=1G"]
        self._lab.run(
            "sbatch", f"--uid={self._user}", *options, "-D", "/", "-o", str(output),
            "--wrap", COMMAND,
        )  # fmt: skip
        return output

    def run(self, number: int) -> float:
        """Milliseconds from the call of sbatch to the clock the command printed."""
        began = time.time_ns()
        return (line_of(self.submit(number)) - began) / 1e6

    def burst(self, numbers: range) -> float:
        """Seconds from the first call to the last start."""
        began = time.time_ns()
        with ThreadPoolExecutor(CALLERS) as pool:
            outputs = list(pool.map(self.submit, numbers))
        return (max(map(line_of, outputs)) - began) / 1e9


def line_of(output: Path) -> int:
    """The nanosecond a file holds, waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            text = output.read_text()
        except FileNotFoundError:
            text = ""
        if text.endswith("\n"):
            return int(text.split()[0])
        if time.monotonic() > deadline:
            raise RuntimeError(f"{output} stays empty")
        time.sleep(0.01)


def measure_launch(stack: Stack, slurm: SlurmLab, rounds: int) -> Figure:
    """Ours and sbatch in turns; medians.

    Slurm starts what waits once a second. So both of a pair begin at the same point of a second,
    and the rounds go through it evenly; in turns without that, one of the two always just misses
    the train that the other just catches.
    """
    ours, bare = [], []
    by_hand = Bare(slurm, 1)
    with stack.api() as api:
        for number in range(rounds + 1):
            _wait_for_point(number / rounds)
            mine = _through_the_portal(api)
            _wait_for_point(number / rounds)
            theirs = by_hand.run(number)
            if number:  # the first pair only warms up
                ours.append(mine)
                bare.append(theirs)
    difference = statistics.median(ours) - statistics.median(bare)
    return Figure(
        f"slurm_launch (median of {rounds})",
        f"{statistics.median(ours):.0f} ms",
        f"{statistics.median(bare):.0f} ms sbatch",
        f"{difference:+.0f} ms",
        f"<= +{GOAL_MS:.0f} ms",
        difference <= GOAL_MS,
    )


def _wait_for_point(fraction: float) -> None:
    """Until the clock's next second is this far gone."""
    time.sleep((fraction - time.time()) % 1.0)


def _through_the_portal(api: httpx.Client) -> float:
    began = time.time_ns()
    job = launch(api, "bench launch", COMMAND, seconds=60, pool="slurm")
    wait_for_end(api, job)
    return (_started(api, job) - began) / 1e6


def _started(api: httpx.Client, job: str) -> int:
    """The nanosecond the job itself printed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        text = api.get(f"/jobs/{job}/logs").json()["text"]
        if text.endswith("\n"):
            return int(text.split()[0])
        if time.monotonic() > deadline:
            raise RuntimeError(f"{job} printed nothing")
        time.sleep(0.05)


def measure_burst(stack: Stack, slurm: SlurmLab) -> Figure:
    """Bare, ours, bare: from the first call to the last start."""
    by_hand = Bare(slurm, 1)
    before = by_hand.burst(range(BURST))
    with stack.api() as api:
        ours = _burst_through_the_portal(api)
    after = by_hand.burst(range(BURST, 2 * BURST))
    bare = (before + after) / 2
    return Figure(
        f"slurm_burst of {BURST}",
        f"{ours:.1f} s",
        f"{before:.1f}, {after:.1f} s sbatch",
        f"{ours / bare:.2f}x",
        f"<= {GOAL_RATIO}x",
        ours <= GOAL_RATIO * bare,
    )


def _burst_through_the_portal(api: httpx.Client) -> float:
    began = time.time_ns()

    def one(number: int) -> str:
        return launch(api, f"burst {number}", COMMAND, seconds=60, pool="slurm")

    with ThreadPoolExecutor(CALLERS) as pool:
        jobs = list(pool.map(one, range(BURST)))
    return (max(_started(api, job) for job in jobs) - began) / 1e9
