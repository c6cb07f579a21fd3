"""Terminals on the nodes: having an attempt that runs serve a shell beside its command.

Who asks leaves a script for the attempt. Its keeper sees that within a second (on a file system of
a network, when the node's cache has aged) and tells the wrapper, which runs the script as it ran
the command: `fastgpu.lab.terminal`. That answers by writing down its port and the word of who asks.
"""

from __future__ import annotations

import secrets
import shlex
import time
from pathlib import Path

from clusters.backends.base import BackendError, BackendUnavailable, LaunchRefused
from clusters.backends.slurm import script, sdk
from clusters.backends.slurm.folders import TERMINAL_FILE, Record, SharedFolder
from clusters.backends.slurm.settings import SlurmSettings
from clusters.backends.slurm.told import Answer

TOOLS = "tools"
PATIENCE_SECONDS = 20.0
_START = (
    "import sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3]; "
    "from fastgpu.lab.terminal import main; sys.exit(main())"
)


def open_terminal(record: Record, settings: SlurmSettings, folders: SharedFolder) -> None:
    """Ask, and wait for the answer. Raises BackendError without tools, BackendUnavailable.

    Each server has a token of its own: whoever takes the port of one that has ended, and hears its
    token, learns nothing that opens the next.
    """
    tools = _tools(settings)
    token, word = secrets.token_urlsafe(32), secrets.token_hex(8)
    try:
        # One who asks at a time: the next would take the place of a script nobody has seen yet.
        with folders.turn(record.origin):
            folders.ask_for_terminal(record, _script(tools, sdk.install(folders), token, word))
            if _answer(record, folders, word).is_new:
                folders.save_terminal_token(record, token)
    except OSError as error:
        raise BackendUnavailable(f"The shared folder cannot be used: {error}") from error


def _answer(record: Record, folders: SharedFolder, word: str) -> Answer:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := folders.answer(record, TERMINAL_FILE)).word != word:
        if time.monotonic() > deadline:
            raise BackendUnavailable("Nothing on its node has started a terminal.")
        time.sleep(0.05)
    return answer


def _tools(settings: SlurmSettings) -> Path:
    try:
        prefix = script.prefix_of(settings.environments, TOOLS)
    except LaunchRefused as error:
        raise BackendError(
            f"A terminal needs the environment `{TOOLS}` in the cluster's environments: "
            f"`manage.py build_environments {TOOLS}`."
        ) from error
    assert prefix is not None  # noqa: S101  # only the bare system has none
    return prefix


def _script(tools: Path, archive: Path, token: str, word: str) -> str:
    """What the attempt runs. The token is in no argument, where everybody could see it."""
    (packages,) = tools.glob("lib/python*/site-packages")
    begins = shlex.join([f"{tools}/bin/python", "-I", "-S", "-c", _START])
    finds = shlex.join([str(packages), str(archive), "--packages", str(packages)])
    return f"""\
host=$FASTGPU_TERMINAL_HOST folder=$FASTGPU_TERMINAL_FOLDER
unset FASTGPU_TERMINAL_HOST FASTGPU_TERMINAL_FOLDER
FASTGPU_TERMINAL_TOKEN={token} exec {begins} {finds} \\
    --serve "$folder" --host "$host" --word {word}
"""
