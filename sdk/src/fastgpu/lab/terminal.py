"""A terminal in an attempt that runs: one shell, and as many browsers as like to see it.

    python3 -I -S terminal.py --packages DIR --serve /run/serve --inside /run/fastgpu

It is started by the attempt's own first process, so it is a process of the attempt as any other,
under the same limits. It listens at `<serve>/terminal.sock`, wants the token that lies at
`<inside>/token`, and speaks as Jupyter's terminals do (shells.py). Its packages come from DIR,
because the attempt's own Python may have none, or others. A second one ends at once.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from pathlib import Path

LINGER_SECONDS = 600.0


def main() -> int:
    """Serve until nobody has looked for `--linger` seconds and nothing runs in the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--serve", type=Path, required=True)
    parser.add_argument("--inside", type=Path, required=True)
    parser.add_argument("--linger", type=float, default=LINGER_SECONDS)
    options = parser.parse_args()
    lock = os.open(options.serve / "terminal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    # What a shell script starts in the background ignores these, and what we start would, too.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:0] = [str(options.packages), str(Path(__file__).resolve().parents[2])]
    from fastgpu.lab import shells
    from fastgpu.lab.handover import read_environment

    env = dict(os.environ)
    if (options.inside / "environ").exists():
        # It was claimed after its start; what started us knows nothing of that.
        env = read_environment(options.inside / "environ")
    shells.serve(
        socket=options.serve / "terminal.sock",
        token=(options.inside / "token").read_text(encoding="ascii"),
        env=env,
        linger_seconds=options.linger,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
