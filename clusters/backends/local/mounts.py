"""Mounts by system call: with the owner of files mapped, and into a sandbox that runs already.

An idmapped mount shows files of one uid as another's, and makes what is created there the first
one's (Linux 5.12, and a file system that can: ext4, xfs, btrfs, tmpfs since 6.3). All of it needs
root. The supervisor imports this, so: the standard library alone.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH123

from __future__ import annotations

import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC = 0x2, 0x4, 0x20, 0x1000, 0x4000
MS_RDONLY, MS_PRIVATE, MS_SLAVE = 0x1, 0x40000, 0x80000
# The same numbers on all machines.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 0x1, 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_IDMAP = 0x1, 0x2, 0x4, 0x100000

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2); "" stands for nothing."""
    words = [word.encode() or None for word in (source, target, kind)]
    number = ctypes.c_ulong(flags)
    _check(_libc.mount(*words, number, data.encode() or None), f"mount {target}")


def clone_tree(source: str, *, recursive: bool = False) -> int:
    """A copy of the mount at `source`, from there on down, that lies nowhere yet: an open file.

    `recursive`: with all that is mounted below.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    here, number = ctypes.c_int(AT_FDCWD), ctypes.c_long(SYS_OPEN_TREE)
    done = _libc.syscall(number, here, source.encode(), ctypes.c_uint(flags))
    return _check(done, f"copy {source}")


def set_attributes(tree: int, attributes: int, users: int = 0) -> None:
    """Set MOUNT_ATTR_* on such a copy, and cut it off from what is mounted below its source.

    `users` is a user namespace from `user_map`, for MOUNT_ATTR_IDMAP.
    """
    wanted = _Attributes(attributes, 0, MS_PRIVATE, users)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    number, flags = ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_uint(AT_EMPTY_PATH)
    done = _libc.syscall(number, ctypes.c_int(tree), b"", flags, ctypes.byref(wanted), size)
    _check(done, "mount attributes")


def attach(tree: int, target: str) -> None:
    """Let such a copy lie at `target`."""
    number, flags = ctypes.c_long(SYS_MOVE_MOUNT), ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
    here = ctypes.c_int(AT_FDCWD)
    done = _libc.syscall(number, ctypes.c_int(tree), b"", here, target.encode(), flags)
    _check(done, f"mount {target}")


def mapped_tree(source: str, *, owner: int, seen_as: int, read_only: bool = False) -> int:
    """A copy of the mount at `source` in which files of `owner` are those of `seen_as`.

    Raises OSError where the kernel or the file system cannot do that.
    """
    tree = clone_tree(source)
    try:
        users = user_map(owner, seen_as)
        try:
            only = MOUNT_ATTR_RDONLY if read_only else 0
            fixed = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
            set_attributes(tree, fixed | only, users)
        finally:
            os.close(users)
    except OSError:
        os.close(tree)
        raise
    return tree


def user_map(owner: int, seen_as: int) -> int:
    """A user namespace, as an open file, that maps one uid and the gid of the same number."""
    there, ready = os.pipe()
    child = os.fork()
    if not child:
        _wait_in_new_userns(ready)
    try:
        os.close(ready)
        if not os.read(there, 1):
            raise OSError("no user namespace could be made")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                file.write(f"{owner} {seen_as} 1\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(there)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _wait_in_new_userns(ready: int) -> None:
    """The life of the process whose user namespace it is; never returns."""
    try:
        _libc.prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
        unshare(CLONE_NEWUSER)
        os.write(ready, b"+")
        signal.pause()
    finally:
        os._exit(1)


def inside(namespace: int, work: Callable[[], None]) -> None:
    """Do `work` in a process of its own in this mount namespace (an open /proc/<pid>/ns/mnt).

    Raises OSError with what it says when it fails.
    """
    said, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            _check(_libc.setns(namespace, CLONE_NEWNS), "setns")
            work()
            os._exit(0)
        # Whatever happens: a forked child must never go on with its parent's code.
        except BaseException as error:
            os.write(say, str(error).encode())
        os._exit(1)
    os.close(say)
    try:
        words = os.read(said, 4096)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(said)
    if status:
        raise OSError(words.decode(errors="replace") or f"status {status}")


def main(folders: list[str]) -> int:
    """Whether files in these can be shown as another uid's: 0, or 1 and the reason on stdout."""
    for folder in folders:
        try:
            os.close(mapped_tree(folder, owner=1, seen_as=2))
        except OSError as error:
            os.write(1, f"{folder}: {error.strerror or error}".encode())
            return 1
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
