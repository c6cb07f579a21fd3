"""What the supervisor looks at: processes, disk usage, cgroup counters; and atomic files."""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH105, PTH106, PTH110, PTH116, PTH120, PTH123, PTH208

from __future__ import annotations

import errno
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENTRY_BYTES = 4096
"""The least that a directory entry counts for, so that empty files are not free."""


def identity(pid: int) -> dict[str, float | int]:
    """`pid`, `create_time` (epoch seconds) and `start_ticks` (since boot) of a live process."""
    ticks = int(_stat_fields(pid)[19])
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    return {
        "pid": pid,
        "create_time": boot + ticks / os.sysconf("SC_CLK_TCK"),
        "start_ticks": ticks,
    }


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on: the name before it may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def descendants(root: int) -> list[int]:
    """Living processes below `root`, without it; zombies are not living."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = _stat_fields(int(name))[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(int(parent), []).append(int(name))
            if state == "Z":
                zombies.add(int(name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        todo += below
        found += below
    return [pid for pid in found if pid not in zombies]


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def usage_bytes(folder: str, enough: int) -> int:
    """Disk space taken below `folder`, counted until it reaches `enough`.

    What cannot be measured counts as `enough`: a tree too deep to walk is no hiding place.
    """
    total = 0
    todo = [folder]
    while todo and total < enough:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    total += max(info.st_blocks * 512, ENTRY_BYTES)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    if total >= enough:
                        break
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return enough
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
    return total


def unlinked_bytes(root: int, folder: str) -> int:
    """Space in `folder`'s file system held by deleted files that processes keep open."""
    device = os.stat(folder).st_dev
    held: dict[int, int] = {}
    for pid in descendants(root):
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
            for fd in fds:
                info = os.stat(f"/proc/{pid}/fd/{fd}")
                if info.st_nlink == 0 and info.st_dev == device:
                    held[info.st_ino] = info.st_blocks * 512
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return sum(held.values())


def oom_kills(cgroups: Mapping[str, str]) -> int:
    """How often the kernel killed in this memory cgroup, by v1's or v2's counter."""
    path = cgroups.get("memory") or cgroups.get("unified")
    for name in ("memory.oom_control", "memory.events"):
        if path and os.path.exists(f"{path}/{name}"):
            with open(f"{path}/{name}", encoding="ascii") as file:
                counters = dict(line.split() for line in file)
            return int(counters.get("oom_kill", 0))
    return 0


def set_frozen(cgroups: Mapping[str, str], *, frozen: bool) -> bool:
    """Freeze or thaw by v1's freezer or v2's cgroup.freeze; False where there is neither."""
    if "freezer" in cgroups:
        path, word = f"{cgroups['freezer']}/freezer.state", "FROZEN" if frozen else "THAWED"
    elif "unified" in cgroups:
        path, word = f"{cgroups['unified']}/cgroup.freeze", "1" if frozen else "0"
    else:
        return False
    if not os.path.exists(path):
        return False
    with open(path, "w", encoding="ascii") as file:
        file.write(word)
    return True


def empty_cgroups(cgroups: Mapping[str, str], seconds: float = 5.0) -> None:
    """Kill whatever is left in the cgroups, until nothing is or `seconds` have passed."""
    # What is frozen by v1 dies only when it thaws.
    set_frozen(cgroups, frozen=False)
    deadline = time.monotonic() + seconds
    for path in cgroups.values():
        while True:
            try:
                with open(f"{path}/cgroup.procs", encoding="ascii") as file:
                    pids = [int(line) for line in file]
            except FileNotFoundError:
                break
            if not pids or time.monotonic() > deadline:
                break
            kill_all(pids)
            time.sleep(0.01)


def remove_cgroups(cgroups: Mapping[str, str]) -> None:
    """Remove the attempt's cgroups; the kernel may hold one for a moment after the last exit."""
    deadline = time.monotonic() + 2.0
    for path in cgroups.values():
        while True:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            else:
                break


def replace_file(path: str, data: bytes, *, durable: bool) -> None:
    """Write `data` to `path` as a whole or not at all; `durable`: also across a power cut."""
    temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)
    if durable:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
