"""The process that owns one attempt: starts it, keeps its log, ends it, writes how it ended.

Run as `python -I -S supervisor.py <attempt folder> [<notify fd>]` by `LocalBackend.submit`.
It belongs to no session of the portal's and survives it. It imports the standard library and
two small siblings only, because its start is part of the time a user waits.

It holds an flock on `lock` for its life: who can take that lock knows that the supervisor is
gone. `state.json` exists from just before the sandbox is started, so that no second supervisor
ever runs the same attempt. One byte is written to the notify fd once the user's command runs.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH100, PTH110

from __future__ import annotations

import fcntl
import os
import signal
import sys

sys.path.insert(0, os.path.abspath(__file__).rsplit("/", 4)[0])

# Imported, not written here: a script itself is compiled anew at each start.
from clusters.backends.local import supervise


def main(folder: str, notify_fd: int | None) -> int:
    """Take the attempt's lock, leave the caller's process tree, run. 0 also when not needed."""
    os.umask(0o077)
    os.chdir(folder)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    if os.path.exists("state.json"):
        return 0
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if notify_fd is not None:
        os.set_inheritable(notify_fd, False)  # noqa: FBT003
    supervise.run_here(notify_fd)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
