"""What must be so before anything is started; each failing is one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from portal.stack.config import Config
from portal.stack.errors import StackError
from portal.stack.ports import require_free

MIN_FREE_BYTES = 1_000_000_000


def free_bytes(folder: Path) -> int:
    """Bytes this user can still write below `folder`."""
    return shutil.disk_usage(folder).free


def require_tools() -> None:
    """Raise StackError when bubblewrap or setpriv is missing or cannot work here."""
    if shutil.which("bwrap") is None:
        prefix = "" if os.geteuid() == 0 else "sudo "
        raise StackError(
            f"bubblewrap is missing: type `{prefix}apt-get install -y bubblewrap` and start again."
        )
    if shutil.which("setpriv") is None:
        raise StackError("setpriv is missing: install the package util-linux and start again.")


def require_root_jail() -> None:
    """Raise StackError when root cannot hand PostgreSQL to an unprivileged user here."""
    probe = subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--cap-add", "CAP_SETUID", "true"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode != 0:
        raise StackError(
            "As root, PostgreSQL needs bubblewrap to work, and here it does not "
            f"({probe.stderr.strip() or 'no reason given'}): start as an ordinary user, "
            "or set DATABASE_URL to a PostgreSQL server."
        )


def require_space(folder: Path, free: Callable[[Path], int] = free_bytes) -> None:
    """Raise StackError when less than MIN_FREE_BYTES can be written below `folder`."""
    left = free(folder)
    if left < MIN_FREE_BYTES:
        raise StackError(
            f"The disk of {folder} is full ({left // 1_000_000} MB left, "
            f"{MIN_FREE_BYTES // 1_000_000} MB needed): free some space, "
            "or set VAR_DIR to a folder on another disk."
        )


def require_ports(config: Config) -> None:
    """Raise StackError when a port is taken or two parts were given the same one."""
    seen: dict[int, str] = {}
    for host, port, variable in config.ports():
        if port in seen:
            raise StackError(f"{variable} and {seen[port]} are both {port}: give each its own.")
        seen[port] = variable
        require_free(host, port, variable)
