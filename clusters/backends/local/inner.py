"""The first process of a sandbox and all below it: how the supervisor signals them."""

from __future__ import annotations

import os
import signal

from clusters.backends.local import watch


class Inner:
    """Held by pidfd, so that no recycled pid is ever hit."""

    def __init__(self, pid: int, *, sandboxed: bool) -> None:
        """Raises ProcessLookupError when it is gone already."""
        self.pid = pid
        self._sandboxed = sandboxed
        self._fd = os.pidfd_open(pid)

    def mount_namespace(self) -> int:
        """What is mounted for it, as an open file. Raises ProcessLookupError."""
        fd = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Another process could have had the pid by then, had this one ended.
            signal.pidfd_send_signal(self._fd, 0)
        except ProcessLookupError:
            os.close(fd)
            raise
        return fd

    def is_alone(self) -> bool:
        """Whether nothing but our own shell lives inside."""
        return not watch.descendants(self.pid)

    def terminate(self) -> None:
        """SIGTERM to every process inside but the first.

        The first one is our own shell. It is held, because its end is the end of the pid
        namespace, and children that still save their work would die with it.
        """
        self._signal(signal.SIGSTOP)
        for pid in watch.descendants(self.pid):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def resume(self) -> None:
        """Let the held shell collect its child's exit status and end."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the first process, and with it the kernel kills its whole pid namespace."""
        if not self._sandboxed:
            watch.kill_all(watch.descendants(self.pid))
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return
