"""What the attempt uses, told to FastGPU when it asks: `GET /fastgpu/use`.

`cpu_seconds`: of all processes of the attempt since they began, those that have ended among them.
`gpu_percent`: mean utilisation of its GPUs since the last time it was asked, null where that
cannot be measured. It is the attempt's own word: whoever lies here only keeps what they pay for
running.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROC = Path("/proc")
SAMPLE_SECONDS = 5.0
# Fields of /proc/<pid>/stat after the name: utime, stime, and the same of children waited for.
_TIMES = slice(11, 15)


def cpu_seconds(proc: Path = PROC) -> float:
    """CPU time of the attempt's processes, seconds.

    In a sandbox those are all there are to see; on a cluster's node, those of the same job.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    ticks = 0
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if job and not _is_of_job(folder, job):
                continue
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended, or is another's
        ticks += sum(map(int, stat.rpartition(")")[2].split()[_TIMES]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_of_job(folder: Path, job: str) -> bool:
    return f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")


class GpuUse:
    """Looks at the GPUs every few seconds, in a thread, and knows their mean since last asked."""

    def __init__(self, read: Callable[[], list[float]] | None) -> None:
        """`read` gives each GPU's utilisation in percent now; None where there is nothing to."""
        self._read = read
        self._lock = threading.Lock()
        self._sum, self._count = 0.0, 0
        if read is not None:
            threading.Thread(target=self._watch, name="gpu-use", daemon=True).start()

    def take(self) -> float | None:
        """The mean since the last call; None where nothing was measured."""
        with self._lock:
            mean = self._sum / self._count if self._count else None
            self._sum, self._count = 0.0, 0
        return mean

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            self.look()
            pause.wait(SAMPLE_SECONDS)

    def look(self) -> None:
        """One sample of each GPU."""
        assert self._read is not None  # noqa: S101  # else nobody looks
        values = self._read()
        with self._lock:
            self._sum += sum(values)
            self._count += len(values)


def gpu_reader() -> Callable[[], list[float]] | None:
    """Utilisation of the GPUs this process may use, by NVML; None without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None

    def read() -> list[float]:
        try:
            handles = [
                pynvml.nvmlDeviceGetHandleByIndex(index)
                for index in range(pynvml.nvmlDeviceGetCount())
            ]
            return [float(pynvml.nvmlDeviceGetUtilizationRates(one).gpu) for one in handles]
        except pynvml.NVMLError:
            return []

    return read


def add_route(web_app: Any) -> None:
    """Let a running jupyter_server answer `/fastgpu/use` to who has its token."""
    from jupyter_server.base.handlers import APIHandler
    from tornado import web

    gpus = GpuUse(gpu_reader())

    class UseHandler(APIHandler):
        @web.authenticated  # type: ignore[untyped-decorator]  # tornado has no types
        async def get(self) -> None:
            self.finish({"cpu_seconds": cpu_seconds(), "gpu_percent": gpus.take()})

    base = web_app.settings["base_url"].rstrip("/")
    web_app.add_handlers(".*$", [(f"{base}/fastgpu/use", UseHandler)])
