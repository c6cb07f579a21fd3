"""Attempts on this machine as the agent finds them: real processes, placed in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from fastgpu.agent.readings import GpuReading
from fastgpu.agent.sampler import Sampler

GPU = "GPU-virtual-0123456789ab-0"
OTHER_GPU = "GPU-virtual-0123456789ab-1"
WORK = """
import sys, threading
go, kept = threading.Event(), []
def burn():
    while go.wait():
        sum(range(10000))
threading.Thread(target=burn, daemon=True).start()
for line in sys.stdin:
    word = line.strip()
    if word == "busy": go.set()
    elif word == "idle": go.clear()
    else: kept.append(b"x" * int(word))
    print("done", flush=True)
"""


class Worker:
    """A shell that stands for a supervisor, with a process below it that works on command."""

    def __init__(self) -> None:
        command = ["sh", "-c", '"$@"; :', "supervisor", sys.executable, "-c", WORK]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.create_time = psutil.Process(self.pid).create_time()

    def do(self, word: str) -> None:
        """`busy`, `idle` or a number of bytes to keep; returns when it is done."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def end(self) -> None:
        """End it and wait."""
        if self._process.poll() is None:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


def place(
    folder: Path,
    name: str,
    worker: Worker,
    *,
    gpus: Sequence[str] = (GPU,),
    cgroups: dict[str, str] | None = None,
) -> Path:
    """Write the placement the local backend would write; returns the attempt's folder."""
    attempt = folder / name
    attempt.mkdir(parents=True, exist_ok=True)
    placement: dict[str, Any] = {
        "external_name": name,
        "gpu_uuids": list(gpus),
        "cgroups": cgroups or {},
        "supervisor": {"pid": worker.pid, "create_time": worker.create_time, "start_ticks": 1},
    }
    (attempt / "placement.json").write_text(json.dumps(placement))
    return attempt


def sample_until(
    sampler: Sampler, is_so: Callable[[dict[str, GpuReading]], bool], seconds: float = 60.0
) -> dict[str, GpuReading]:
    """Sample five times a second until `is_so`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        readings = {reading.uuid: reading for reading in sampler.sample()}
        if is_so(readings):
            return readings
        assert time.monotonic() < deadline, f"it never came to be: {readings}"
        time.sleep(0.2)
