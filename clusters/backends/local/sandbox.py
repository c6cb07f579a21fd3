"""The bubblewrap command line of an attempt: what it sees, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.backends.base import LaunchSpec
from clusters.backends.local.confine import ARGS_FD, SECCOMP_FD, START_FD, STATUS_FD
from clusters.backends.local.shown import HOME, INSIDE, Mount

STAGE_POINTS = ("/mnt", "/media", "/srv", "/opt")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf",
    "pki", "ca-certificates", "ca-certificates.conf", "localtime", "timezone", "nsswitch.conf",
    "mime.types", "protocols", "services", "fonts", "OpenCL",
)  # fmt: skip
HOSTNAME = "fastgpu"
"""Of servers, which may have stood by before they were anybody's."""
MOST_HOSTNAME = 63
SYNTHESIZED = ("passwd", "group", "hosts", "hostname")


@dataclass(frozen=True, slots=True)
class View:
    """What one sandbox is made of. `start` is the folder it begins in.

    `inside` is the attempt's folder of that name; it is among `mounts`, too. `folders` are empty
    ones, for what is mounted later.
    """

    bwrap: Path
    mounts: Sequence[Mount]
    inside: Path
    start: str
    devices: Sequence[Path]
    network: bool
    env: Mapping[str, str]
    memory_bytes: int
    disable_userns: bool
    seccomp: bool
    staged: bool
    folders: Sequence[str] = ()
    hostname: str = HOSTNAME


def hostname_of(spec: LaunchSpec) -> str:
    """What the machine of an attempt is called, by which its files can be told from others'."""
    return HOSTNAME if spec.serves else spec.external_name[:MOST_HOSTNAME]


def stage(view: View) -> dict[str, object] | None:
    """Where the supervisor mounts what the team's uid could not reach by path; None: not needed.

    A bind is its source, its name there, the owner to map to the attempt's uid, or None, and
    whether no link may be on the way.
    """
    if not view.staged:
        return None
    return {
        "point": _stage_point(),
        "binds": [
            [str(mount.source), str(index), mount.owner, mount.has_no_links]
            for index, mount in enumerate(view.mounts)
        ],
    }


def _stage_point() -> str:
    return next(point for point in STAGE_POINTS if Path(point).is_dir())


def argv(view: View) -> list[str]:
    """The command to execute; its options come through a file descriptor."""
    start = f"{INSIDE}/start"
    return [str(view.bwrap), "--args", str(ARGS_FD), "--", "/bin/sh", start]


def options(view: View) -> list[str]:
    """bwrap's options, in the order in which it mounts."""
    out = [*_namespaces(view), *_environment(view.env), *_system()]
    out += ["--proc", "/proc", "--dev", "/dev"]
    for device in view.devices:
        out += ["--dev-bind-try", str(device), f"/dev/{device.name}"]
    for folder, size in tmpfs_bytes(view.memory_bytes).items():
        out += ["--size", str(size), "--perms", "1777", "--tmpfs", folder]
    out += ["--symlink", "../tmp", "/var/tmp", "--symlink", "../run", "/var/run"]  # noqa: S108
    point = _stage_point() if view.staged else ""
    for index, mount in enumerate(view.mounts):
        source = f"{point}/{index}" if point else str(mount.source)
        out += ["--bind" if mount.is_writable else "--ro-bind", source, mount.target]
        if mount.source == view.inside:
            for name in SYNTHESIZED:
                out += ["--ro-bind", f"{source}/{name}", f"/etc/{name}"]
    if view.network:
        out += ["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]
    for path in view.folders:
        out += ["--dir", path]
    return [*out, "--chdir", view.start, "--remount-ro", "/dev", "--remount-ro", "/"]


def tmpfs_bytes(memory_bytes: int) -> dict[str, int]:
    """Sizes of the folders that lie in memory, and count as such."""
    return {"/dev/shm": memory_bytes // 2, "/tmp": memory_bytes // 4}  # noqa: S108


def _namespaces(view: View) -> list[str]:
    out = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
    out += ["--unshare-cgroup-try", "--hostname", view.hostname, "--cap-drop", "ALL"]
    out += ["--die-with-parent", "--new-session", "--as-pid-1"]
    out += ["--json-status-fd", str(STATUS_FD)]
    if not view.network:
        out.append("--unshare-net")
    if view.disable_userns:
        out.append("--disable-userns")
    if view.seccomp:
        out += ["--seccomp", str(SECCOMP_FD)]
    return out


def _environment(env: Mapping[str, str]) -> list[str]:
    out = ["--clearenv"]
    for key, value in env.items():
        out += ["--setenv", key, value]
    return out


def _system() -> list[str]:
    out = ["--ro-bind", "/usr", "/usr"]
    for name in MERGED:
        path = Path("/") / name
        if path.is_symlink():
            out += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            out += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        out += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    cpus = "/sys/devices/system/cpu"
    return [*out, "--ro-bind-try", cpus, cpus]


def start_script(*, ulimits: Sequence[str] = (), inside: str = INSIDE, door: str = "") -> str:
    """The first process inside: it reports that it began, then runs the command and waits.

    It is pid 1 of the sandbox, so no signal from inside ends it before the command, and its end
    takes along what waits at the door (tools.door_script).
    """
    run = f"/bin/bash {inside}/command"
    if ulimits:
        # sh has no ulimit -u everywhere.
        limits = "; ".join(f"ulimit {limit}" for limit in ulimits)
        run = f"/bin/bash -c {shlex.quote(f'{limits}; exec {run}')}"
    begin = f"echo >&{START_FD}\nexec {START_FD}>&-\n"
    return f"{begin}{door}{run}\nexit $?\n"


def identity_files(uid: int, hostname: str = HOSTNAME) -> dict[str, str]:
    """The few files of /etc that name the sandbox's only user and host."""
    return {
        "passwd": (
            "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
            f"run:x:{uid}:{uid}:FastGPU run:{HOME}:/bin/bash\n"
        ),
        "group": f"root:x:0:\nrun:x:{uid}:\n",
        "hosts": f"127.0.0.1 localhost {hostname}\n::1 localhost\n",
        "hostname": f"{hostname}\n",
    }
