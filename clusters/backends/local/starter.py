"""Starting a supervisor, and telling a running one that there is something to read."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from clusters.backends.local import runtimes, supervisor

START_WAIT_SECONDS = 2.0


def wake(folder: Path) -> None:
    """Tell the supervisor to look at its request files again."""
    try:
        control = os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        # No supervisor listens yet, or no more: a coming one reads the files itself.
        return
    try:
        os.write(control, b"\n")
    finally:
        os.close(control)


def start_supervisor(folder: Path) -> None:
    """Start the supervisor outside our session and wait until the command runs, at most 2 s.

    Raises OSError when no process can be made.
    """
    listening, notify = os.pipe()
    interpreter = str(Path(sys.executable).resolve())
    script = str(Path(supervisor.__file__).resolve())
    try:
        with (folder / "supervisor.log").open("ab") as errors:
            starter = subprocess.Popen(
                [interpreter, "-I", "-S", script, str(folder), str(notify)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(notify,),
                start_new_session=True,
                env={"PATH": runtimes.SYSTEM_PATH, "LANG": "C.UTF-8"},
                cwd="/",
            )
    except OSError:
        os.close(listening)
        raise
    finally:
        os.close(notify)
    deadline = time.monotonic() + START_WAIT_SECONDS
    poller = select.poll()
    poller.register(listening, select.POLLIN)
    try:
        # Readable: the command runs. Hung up: the supervisor ended, or another one has the lock.
        poller.poll(START_WAIT_SECONDS * 1000)
        starter.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        # The first half of the double fork is still starting on a busy machine; it ends alone.
        return
    finally:
        os.close(listening)


def tail(path: Path) -> str:
    """The last words in a file; "" when there is none."""
    try:
        return path.read_bytes()[-500:].decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
