"""What a supervised process is, as data, and the mark each leaves of itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from portal.stack.layout import write_private


@dataclass(frozen=True)
class Child:
    """One process to keep running.

    It starts when all of `after` are ready and is ready itself when `ready()` says so (None: as
    soon as it runs; a quick check, called in a thread). With `once` it runs to its end instead:
    ready when it exits with 0, an error of the whole stack otherwise. To stop it `stop_signal`
    goes to `main_pid()`, or to the process started, and after `grace` seconds `kill_signal`.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    ready: Callable[[], bool] | None = None
    once: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0
    main_pid: Callable[[], int | None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def leave_mark(folder: Path, name: str, pid: int) -> None:
    """Write down that `name` runs as `pid`, so that a later start can find it."""
    mark = {"pid": pid, "created": psutil.Process(pid).create_time()}
    write_private(folder / f"{name}.pid", json.dumps(mark), durable=False)


def remove_mark(folder: Path, name: str) -> None:
    """`name` does not run any more."""
    (folder / f"{name}.pid").unlink(missing_ok=True)


def marked_process(folder: Path, name: str) -> psutil.Process | None:
    """The process `name` was started as, if it is still the one that runs under that pid."""
    try:
        mark = json.loads((folder / f"{name}.pid").read_text(encoding="utf-8"))
        process = psutil.Process(int(mark["pid"]))
        # The kernel counts from boot, and the time of boot moves when the clock is set.
        same = abs(process.create_time() - float(mark["created"])) < 2
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None


def end_leftovers(folder: Path, children: list[Child], say: Callable[[str], None]) -> None:
    """End what an earlier stack on the same data left running, last started first."""
    for child in reversed(children):
        process = marked_process(folder, child.name)
        main = child.main_pid() if child.main_pid else None
        if main is not None and (process is None or process.pid != main):
            say(f"ending {child.name} left over from an earlier run (process {main})")
            _end(psutil.Process(main), child)
        elif process is not None:
            say(f"ending {child.name} left over from an earlier run (process {process.pid})")
        if process is not None:
            _end(process, child)
        remove_mark(folder, child.name)


def _end(process: psutil.Process, child: Child) -> None:
    try:
        process.send_signal(child.stop_signal)
        process.wait(child.grace)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.send_signal(child.kill_signal)
        gone, _ = psutil.wait_procs([process], timeout=2)
        if not gone:
            process.kill()


def signal_group(pid: int, number: signal.Signals) -> bool:
    """Signal the session `pid` leads; False when nothing of it is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True
