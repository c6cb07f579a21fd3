"""A terminal in an attempt that runs: one shell, and as many browsers as like to see it.

    python3 -I -S terminal.py --packages DIR --serve /run/serve --inside /run/fastgpu
    python3 -I -S terminal.py --packages DIR --serve FOLDER --host ADDRESS --word WORD

It is started by the attempt's own first process, so it is a process of the attempt as any other,
under the same limits. It listens at `<serve>/terminal.sock` and wants the token that lies at
`<inside>/token`; or at a port of ADDRESS, which it writes to `<serve>/terminal` together with WORD,
and wants the FASTGPU_TERMINAL_TOKEN that it began with. It speaks as Jupyter's terminals do
(shells.py). Its packages come from DIR, because the attempt's own Python may have none, or others.
A second one has the first answer its word, and ends at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

LINGER_SECONDS = 600.0
ANSWER_SECONDS = 10.0
TOKEN = "FASTGPU_TERMINAL_TOKEN"  # noqa: S105  # the name of a variable


def main() -> int:
    """Serve until nobody has looked for `--linger` seconds and nothing runs in the shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--serve", type=Path, required=True)
    parser.add_argument("--inside", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--word", default="")
    parser.add_argument("--linger", type=float, default=LINGER_SECONDS)
    options = parser.parse_args()
    answer = options.serve / "terminal"
    lock = os.open(options.serve / "terminal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if options.host:
            answer_again(answer, options.word)
        return 0
    # What a shell script starts in the background ignores these, and what we start would, too.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:0] = [str(options.packages), str(Path(__file__).resolve().parents[2])]
    from tornado.netutil import bind_sockets, bind_unix_socket

    from fastgpu.lab import shells
    from fastgpu.lab.handover import read_environment

    env = dict(os.environ)
    if options.host:
        token = env.pop(TOKEN)
        sockets = bind_sockets(0, options.host)
        write_answer(answer, sockets[0].getsockname()[1], options.word, is_new=True)
    else:
        answer = options.serve / "terminal.sock"
        token = (options.inside / "token").read_text(encoding="ascii")
        sockets = [bind_unix_socket(str(answer), mode=0o600)]
        if (options.inside / "environ").exists():
            # It was claimed after its start; what started us knows nothing of that.
            env = read_environment(options.inside / "environ")
    shells.serve(sockets, token=token, env=env, linger_seconds=options.linger)
    answer.unlink(missing_ok=True)
    return 0


def write_answer(path: Path, port: int, word: str, *, is_new: bool) -> None:
    """Say where it listens, whom that answers, and whether it began for that one."""
    new = path.with_suffix(".new")
    said = {"port": port, "word": word, "is_new": is_new}
    new.write_text(json.dumps(said), encoding="ascii")
    new.replace(path)


def answer_again(path: Path, word: str) -> None:
    """Say the same to who asks now; the first may still be about to say it."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            port = json.loads(path.read_text(encoding="ascii"))["port"]
        except (FileNotFoundError, ValueError):
            time.sleep(0.05)
            continue
        write_answer(path, port, word, is_new=False)
        return


if __name__ == "__main__":
    sys.exit(main())
