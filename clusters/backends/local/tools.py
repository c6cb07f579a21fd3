"""What FastGPU itself runs in attempts, on a Python of its own: the terminal.

An attempt's environment may be the bare system, or an image without any Python. So the packages
come from the prepared environment `tools`, and the interpreter is this machine's: in a sandbox it
is there anyway, and a container is shown this machine's /usr beside its own, with the dynamic
loader that belongs to it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clusters.backends.base import LaunchRefused
from clusters.backends.local import environments
from clusters.backends.local.shown import INSIDE, SDK, SERVE, Mount

SLUG = "tools"
HOST = "/opt/fastgpu-host"
"""Where a container finds this machine's /usr."""
DOOR = "door"
"""A FIFO in `inside`. Who writes the line WORD to it is given a terminal."""
WORD = "terminal"


@dataclass(frozen=True, slots=True)
class Tools:
    """What an attempt must be shown for it, and the command that serves a terminal."""

    mounts: Sequence[Mount]
    command: Sequence[str]


def find(folder: Path, *, in_container: bool) -> Tools | None:
    """The tools, if the environment `tools` in `folder` has been built."""
    try:
        environment = environments.resolve(folder, SLUG)
    except LaunchRefused:
        return None
    if environment.prefix is None:
        return None
    prefix = environment.binds[0][0]
    packages = next(prefix.glob("lib/python3*/site-packages"), None)
    if packages is None:
        return None
    mounts = [Mount(host, str(target)) for host, target in environment.binds]
    python = [str((prefix / "bin" / "python").resolve())]
    if in_container:
        if not _loader().is_relative_to("/usr"):
            return None
        mounts.append(Mount(Path("/usr"), f"{HOST}/usr"))
        python = _with_loader(python[0])
    script = f"{SDK}/fastgpu/lab/terminal.py"
    seen = environment.prefix / packages.relative_to(prefix)
    options = ["--packages", str(seen), "--serve", SERVE, "--inside", INSIDE]
    return Tools(mounts, [*python, "-I", "-S", script, *options])


def _with_loader(python: str) -> list[str]:
    loader = _loader()
    under_usr = python.startswith("/usr/")
    return [
        f"{HOST}{loader}", "--library-path", f"{HOST}{loader.parent}",
        f"{HOST}{python}" if under_usr else python,
    ]  # fmt: skip


@cache
def _loader() -> Path:
    """This machine's dynamic loader, as it is mapped into ourselves."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = (line.split(maxsplit=5)[-1] for line in lines)
    return next(Path(path).resolve() for path in paths if "/ld-" in path)


def door_script(tools: Tools | None, *, before: str = "", closed: str = "") -> str:
    """Lines of a start script that open the door and go on.

    What waits at it does nothing until somebody knocks. `before` is done before a terminal is
    started; `closed` are redirections that close what it must not hold.
    """
    if tools is None:
        return ""
    start = f"{before}exec {shlex.join(tools.command)}"
    # In parentheses, so that it is no job of the first process, which would print how it ended.
    # Who knocks while the one before is let in may go without a word: that ends nothing.
    return (
        f"( while [ -p {INSIDE}/{DOOR} ]; do\n"
        f"  read -r word < {INSIDE}/{DOOR} || continue\n"
        f"  case $word in {WORD}) {{ {start}; }} & ;; esac\n"
        f"done > /dev/null 2>&1 {closed} & )\n"
    )
