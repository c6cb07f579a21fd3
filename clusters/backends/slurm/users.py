"""Which Unix user a team's work runs as, and making such users where the portal may."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess

from clusters.backends.base import BackendUnavailable, LaunchRefused
from clusters.backends.slurm.settings import SlurmSettings

CREATE_SECONDS = 20.0
ALREADY_THERE = 9
"""useradd's exit status for a name that exists: somebody was quicker."""


def name_of(settings: SlurmSettings, team_number: int) -> str:
    """The Unix user of a team, whether it exists or not."""
    return settings.user_template.replace("{number}", str(team_number))


def pattern(settings: SlurmSettings) -> re.Pattern[str]:
    """Matches the names of our mapped users and no others."""
    before, marker, after = settings.user_template.partition("{number}")
    number = r"[1-9][0-9]*" if marker else ""
    return re.compile(re.escape(before) + number + re.escape(after))


def resolve(settings: SlurmSettings, team_number: int) -> pwd.struct_passwd:
    """The Unix user of a team, made now where the settings say so.

    Raises LaunchRefused when there is none, or when it is root.
    """
    name = name_of(settings, team_number)
    found = _find(name)
    if found is None and settings.create_users:
        _create(name, settings.uid_base + team_number)
        found = _find(name)
    if found is None:
        raise LaunchRefused(
            f"The cluster has no Unix user {name!r} for this team yet. "
            "Its operators make one (see the how-to on Slurm)."
        )
    if found.pw_uid == 0:
        raise LaunchRefused(f"The Unix user {name!r} is root; no work is run as root.")
    if os.geteuid() not in (0, found.pw_uid):
        raise LaunchRefused(
            f"The portal is not root, so it cannot run work as {name!r} but only as itself."
        )
    return found


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str, uid: int) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise LaunchRefused("This machine has no useradd, so it cannot make Unix users.")
    argv = [
        program, "--uid", str(uid), "--user-group", "--no-create-home", "--home-dir", "/",
        "--shell", "/usr/sbin/nologin", "--comment", "FastGPU team", name,
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, timeout=CREATE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"useradd took longer than {CREATE_SECONDS:g} s") from error
    if done.returncode not in (0, ALREADY_THERE):
        words = done.stderr.decode(errors="replace").strip()
        raise BackendUnavailable(f"The Unix user {name} could not be made: {words}")
