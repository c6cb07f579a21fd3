"""The supervisor's child on its way to becoming the sandbox; never returns to Python.

Order matters: join the cgroups and build the private mount table while still root, then
become the team's uid, then tie this process's life to the supervisor's, then exec.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH102, PTH123

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

START_FD = 3
"""The sandbox's first process writes one byte here when it begins."""
STATUS_FD = 4
"""bwrap's --json-status-fd."""
ARGS_FD = 5
"""bwrap's --args, so that a user's environment never shows in the host's process list."""
SECCOMP_FD = 6
"""bwrap's --seccomp."""
STANDBY_FD = 7
"""A server that stands by speaks with its supervisor through it (standing.py)."""

PR_SET_PDEATHSIG = 1


def become_sandbox(
    plan: dict[str, Any], output: int, start: int, status: int, standby: int | None
) -> NoReturn:
    """Replace this forked process by the planned command. Exits 127 with the reason in the log."""
    parent = os.getppid()
    try:
        _arrange_fds(plan, output, start, status, standby)
        for path in plan["cgroups"].values():
            with open(f"{path}/cgroup.procs", "w", encoding="ascii") as procs:
                procs.write("0")
        _prepare(plan, parent)
        os.execve(plan["argv"][0], plan["argv"], plan["exec_env"])  # noqa: S606
    # Whatever happens: a forked child must never go on with its parent's code.
    except BaseException as error:
        os.write(2, f"FastGPU could not start the sandbox: {error}\n".encode())
    os._exit(127)


def _arrange_fds(
    plan: dict[str, Any], output: int, start: int, status: int, standby: int | None
) -> None:
    """0 to 2, then the agreed numbers; all else is close-on-exec already."""
    args = _memory_file(b"".join(arg.encode() + b"\0" for arg in plan["bwrap_args"]))
    seccomp = _memory_file(bytes.fromhex(plan["seccomp"]))
    null = os.open("/dev/null", os.O_RDONLY)
    import fcntl

    wanted = {0: null, 1: output, 2: output, START_FD: start, STATUS_FD: status}
    wanted |= {ARGS_FD: args, SECCOMP_FD: seccomp}
    if standby is not None:
        wanted[STANDBY_FD] = standby
    # First out of the way: some of them may have one of these numbers now.
    high = {to: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for to, fd in wanted.items()}
    for to, fd in high.items():
        os.dup2(fd, to, inheritable=True)


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("bwrap", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _prepare(plan: dict[str, Any], parent: int) -> None:
    import ctypes
    import resource

    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.umask(0o022)
    os.setsid()
    for name, value in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", plan["file_bytes"])):
        if value is None:
            continue
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (ceiling, ceiling))
    if plan["stage"]:
        _build_stage(plan["stage"]["point"], plan["stage"]["binds"], plan["uid"])
    else:
        os.chdir(plan["start"])
    if plan["uid"] is not None:
        os.setgroups([])
        os.setresgid(plan["uid"], plan["uid"], plan["uid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    # After the change of uid, which clears it.
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


def _build_stage(point: str, binds: list[tuple[str, str, int | None, bool]], uid: int) -> None:
    """Mount what the team's uid must reach below `point`, in a mount namespace of our own.

    The sources may lie under folders which that uid cannot enter (/root); their mounts do not.
    """
    from clusters.backends.links import open_without_links
    from clusters.backends.local import mounts

    mounts.unshare(mounts.CLONE_NEWNS)
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)
    opened = [
        (open_without_links(source) if no_links else os.open(source, os.O_PATH), name, owner)
        for source, name, owner, no_links in binds
    ]
    mounts.mount("tmpfs", point, "tmpfs", 0, "mode=755,size=64k")
    for fd, name, owner in opened:
        source, target = f"/proc/self/fd/{fd}", f"{point}/{name}"
        os.mkdir(target, 0o755)
        if owner is None:
            mounts.mount(source, target, "", mounts.MS_BIND | mounts.MS_REC)
        else:
            mounts.attach(mounts.mapped_tree(source, owner=owner, seen_as=uid), target)
        os.close(fd)
