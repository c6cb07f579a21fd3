"""Start a service as root's unprivileged deputy.

PostgreSQL refuses to run as root, and another uid may be unable to reach its program and its data
when the clone lies below a folder of mode 0700 such as /root. Bubblewrap, which workloads need
anyway, shows the service a file system with nothing but the system's programs and the folders it
is given, under fixed paths; setpriv then takes on a uid that nobody else has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Below the uids of teams (LOCAL_UID_BASE, 210 000 and up) and above those of people.
SERVICE_UID = 209_999
_SYSTEM_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")


@dataclass(frozen=True)
class Bind:
    """One folder or file shown inside under `inside`."""

    outside: Path
    inside: str
    writable: bool = False


def die_with_parent(command: list[str], signal_name: str = "TERM") -> list[str]:
    """`command`, sent `signal_name` when the process that started it is gone."""
    return ["setpriv", f"--pdeathsig={signal_name}", "--", *command]


def jailed(command: list[str], binds: list[Bind], *, signal_name: str) -> list[str]:
    """`command` as SERVICE_UID, without any capability, seeing only `binds` and the system."""
    arguments = ["bwrap", "--die-with-parent", "--ro-bind", "/usr", "/usr", *_system_folders()]
    # The dynamic linker finds libraries that lie beside a program through /proc/self/exe.
    arguments += ["--ro-bind", "/proc", "/proc", "--dev", "/dev", "--bind", "/dev/shm", "/dev/shm"]  # noqa: S108
    for folder in _parents(binds):
        arguments += ["--perms", "0755", "--dir", folder]
    for bind in binds:
        arguments += ["--bind" if bind.writable else "--ro-bind", str(bind.outside), bind.inside]
    arguments += ["--chdir", "/", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--"]
    arguments += ["setpriv", f"--reuid={SERVICE_UID}", f"--regid={SERVICE_UID}", "--clear-groups"]
    return [*arguments, "--inh-caps=-all", f"--pdeathsig={signal_name}", "--", *command]


def give_to_service(folder: Path) -> None:
    """Make SERVICE_UID the owner of `folder` and, where it owns it not yet, of all below."""
    owned = folder.stat().st_uid == SERVICE_UID
    os.chown(folder, SERVICE_UID, SERVICE_UID)
    folder.chmod(0o700)
    if owned:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent, name), SERVICE_UID, SERVICE_UID, follow_symlinks=False)


def _system_folders() -> list[str]:
    arguments: list[str] = []
    for name in _SYSTEM_FOLDERS:
        folder = Path(name)
        if folder.is_symlink():
            arguments += ["--symlink", str(folder.readlink()), name]
        elif folder.is_dir():
            arguments += ["--ro-bind", name, name]
    return arguments


def _parents(binds: list[Bind]) -> list[str]:
    # bubblewrap makes missing parents readable by root alone.
    found = {str(parent) for bind in binds for parent in Path(bind.inside).parents}
    return sorted(found - {"/"})
