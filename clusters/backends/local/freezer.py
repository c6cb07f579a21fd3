"""Holding all processes of an attempt still, by its cgroup where it has one."""

from __future__ import annotations

import os
import signal

from clusters.backends.local import watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def freeze(cgroups: Mapping[str, str], root: int) -> None:
    """Hold `root` and all below it still.

    With a freezer (v1) or cgroup.freeze (v2) nothing inside can undo it. Without, SIGSTOP does,
    which a process of the attempt that was not seen in time could undo.
    """
    if not watch.set_frozen(cgroups, frozen=True):
        _signal(root, signal.SIGSTOP)


def thaw(cgroups: Mapping[str, str], root: int) -> None:
    """Let `root` and all below it go on."""
    if not watch.set_frozen(cgroups, frozen=False):
        _signal(root, signal.SIGCONT)


def _signal(root: int, number: signal.Signals) -> None:
    for pid in (root, *watch.descendants(root)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
