"""What makes the sandbox of a server that stood by the sandbox of an attempt.

All of it is done by the supervisor, as root, before anything of the team's is in the sandbox: up
to then what is in there is ours, so that its paths can be trusted.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH101, PTH108, PTH110, PTH118, PTH119, PTH123

from __future__ import annotations

import os

from clusters.backends import erase
from clusters.backends.local import mounts, watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from clusters.backends.local.inner import Inner

HOME, CHECKPOINTS, WORKSPACE = "/home/run", "/home/run/checkpoints", "/workspace"
TMPFS = mounts.MS_NOSUID | mounts.MS_NODEV


def set_limits(changes: Sequence[tuple[str, str]]) -> None:
    """Write each (control file, value) of a cgroup. Raises OSError when the kernel refuses.

    Of two ceilings that bound each other the order depends on which way they go: so, twice.
    """
    refused = [change for change in changes if not _write(*change)]
    for path, value in refused:
        if not _write(path, value):
            raise OSError(f"{path} cannot be {value}")


def _write(path: str, value: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def dress(inner: Inner, claim: dict[str, Any], *, seen_as: int) -> None:
    """Mount what the attempt has into the sandbox whose first process is `inner`.

    Checkpoints and volume are the team's on disk and `seen_as`'s inside. Without a volume the
    home is seen as the workspace, too, because that is where the server looks. Raises OSError.
    """
    plan, opened = claim["plan"], []
    try:
        opened.append(namespace := inner.mount_namespace())
        trees = {}
        for source, target in ((plan["checkpoints"], CHECKPOINTS), (plan["volume"], WORKSPACE)):
            if source:
                tree = mounts.mapped_tree(source, owner=plan["uid"], seen_as=seen_as)
                opened.append(tree)
                trees[target] = tree
        nodes = {}
        for device in filter(os.path.exists, claim["devices"]):
            opened.append(node := mounts.clone_tree(device))
            nodes[f"/dev/{os.path.basename(device)}"] = node

        def work() -> None:
            for target, size in claim["tmpfs"].items():
                mounts.mount("", target, "", mounts.MS_REMOUNT | TMPFS, f"size={size}")
            for target, tree in trees.items():
                mounts.attach(tree, target)
            if WORKSPACE not in trees:
                mounts.attach(mounts.clone_tree(HOME, recursive=True), WORKSPACE)
            if nodes:
                _show_nodes(nodes, seen_as)

        mounts.inside(namespace, work)
    finally:
        for fd in opened:
            os.close(fd)


def _show_nodes(nodes: Mapping[str, int], uid: int) -> None:
    again = mounts.MS_REMOUNT | mounts.MS_BIND | TMPFS
    mounts.mount("", "/dev", "", again)
    # Files there can belong only to who is known in the sandbox.
    os.setegid(uid)
    os.seteuid(uid)
    for target in nodes:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    os.seteuid(0)
    for target, tree in nodes.items():
        mounts.set_attributes(tree, mounts.MOUNT_ATTR_NOSUID)
        mounts.attach(tree, target)
    mounts.mount("", "/dev", "", again | mounts.MS_RDONLY)


def hand_over(env: Mapping[str, str]) -> None:
    """Write the variables where the server, and a terminal, will read them."""
    data = b"".join(f"{key}={value}".encode() + b"\0" for key, value in env.items())
    watch.replace_file("inside/environ", data, durable=False)
    os.chmod("inside/environ", 0o644)


def make_new(inside: Mapping[str, str], uid: int) -> None:
    """Make the attempt's folder as it would be had nothing stood by. Raises OSError."""
    erase.clear("home", keep="checkpoints")
    erase.clear("serve")
    for name in ("home", "serve"):
        os.chown(name, uid, uid)
    for name, text in inside.items():
        with open(os.path.join("inside", name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
    for name in ("inside/environ", "log"):
        if os.path.exists(name):
            os.unlink(name)
