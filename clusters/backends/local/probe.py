"""Whether this machine can sandbox at all, found by doing it once a minute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from clusters.backends import volumes
from clusters.backends.base import Health
from clusters.backends.local import checkpoints, mounts
from clusters.backends.local.settings import LocalSettings

CACHE_SECONDS = 60.0
PROBE_SECONDS = 10.0
MINIMUM_FREE_BYTES = 256 * 1024**2
PROBE_ARGS = (
    "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net",
    "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL",
    "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capability:
    """What bubblewrap can do here. `bwrap` None: nothing, for the reason in `problem`.

    `standby_problem` says why no server can be started ahead, "" where one can.
    """

    bwrap: Path | None
    disable_userns: bool
    problem: str
    standby_problem: str = ""


class Probe:
    """Asks the machine, remembers the answer for `CACHE_SECONDS`; usable from many threads."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: Capability | None = None
        self._known_at = 0.0

    def capability(self) -> Capability:
        """The sandbox that can be had; never raises."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known_at > CACHE_SECONDS:
                found = _probe(self._settings)
                problem = _standby_problem(self._settings) if found.bwrap else ""
                self._known = replace(found, standby_problem=problem)
                self._known_at = time.monotonic()
            return self._known

    def health(self) -> Health:
        """Capability, settings and free disk space in the words of the contract."""
        capability = self.capability()
        if capability.bwrap is None and not self._settings.allow_insecure:
            return Health(may_start=False, isolation="none", detail=capability.problem)
        if capability.bwrap is None:
            isolation = "none (insecure)"
        elif os.geteuid() == 0:
            isolation = "bubblewrap, uid per team"
        else:
            isolation = "bubblewrap, portal's uid"
        self._settings.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._settings.root).free
        if free < MINIMUM_FREE_BYTES:
            words = f"The disk of {self._settings.root} has only {free >> 20} MiB left: free some."
            return Health(may_start=False, isolation=isolation, detail=words)
        return Health(may_start=True, isolation=isolation, detail=capability.problem)


def _probe(settings: LocalSettings) -> Capability:
    found = shutil.which("bwrap")
    if found is None:
        return Capability(
            None,
            disable_userns=False,
            problem="bubblewrap is missing: install it with `apt-get install bubblewrap`.",
        )
    strict = _try(settings, found, "--disable-userns")
    if not strict:
        return Capability(Path(found), disable_userns=True, problem="")
    plain = _try(settings, found)
    if not plain:
        return Capability(Path(found), disable_userns=False, problem="")
    return Capability(
        None,
        disable_userns=False,
        problem=(
            f"bubblewrap does not work here ({plain}): allow unprivileged user namespaces, "
            "for example with `sysctl kernel.unprivileged_userns_clone=1` or, on Ubuntu, "
            "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`."
        ),
    )


def _standby_problem(settings: LocalSettings) -> str:
    """Why nothing that stands by could be made a team's; "" where it can."""
    if os.geteuid() != 0:
        return "No server is started ahead: the portal is not root."
    settings.root.mkdir(parents=True, exist_ok=True)
    # Each may be a file system of its own.
    places = [settings.root / name for name in ("", volumes.FOLDER, checkpoints.FOLDER)]
    words = [sys.executable, "-I", "-S", mounts.__file__, *map(str, filter(Path.exists, places))]
    # In a process of its own: it forks, which a process with threads should not.
    try:
        done = subprocess.run(words, check=False, capture_output=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"No server is started ahead: {error}"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode(errors="replace") or f"status {done.returncode}"
    return f"No server is started ahead: files here cannot be mounted idmapped ({said})."


def _try(settings: LocalSettings, bwrap: str, *extra: str) -> str:
    """ "" when an empty sandbox starts under the uid that work will have, else what was said."""
    identity: dict[str, int | list[int]] = {}
    if os.geteuid() == 0:
        uid = settings.uid_base
        identity = {"user": uid, "group": uid, "extra_groups": []}
    try:
        done = subprocess.run(
            [bwrap, *PROBE_ARGS, *extra, "--", "/bin/true"],
            check=False,
            capture_output=True,
            timeout=PROBE_SECONDS,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            **identity,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.decode(errors="replace").strip()[:300] or f"status {done.returncode}"
