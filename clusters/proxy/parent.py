"""Holds the listening socket for several processes, and replaces those that end.

SIGHUP starts new ones and, once all of them serve, lets the old ones end what they have open:
nothing is dropped, because the socket stays. Where the new ones do not come up, the old ones go on.
SIGTERM ends all in order. It imports little, for it stays small.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters.proxy.settings import Settings

logger = logging.getLogger(__name__)
BACKLOG = 4096
# One that ends at once is not started again sooner.
RESTART_SECONDS = 1.0
READY_SECONDS = 20.0
END_SECONDS = 8.0
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Parent:
    """As many processes as `settings` say, on one socket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving: list[_Process] = []
        self._retired: list[_Process] = []
        self._count = 0

    def run(self) -> int:
        """Until SIGTERM; the exit status."""
        lifeline, held = os.pipe()
        with (
            _signals() as told,
            _listener(self._settings) as listener,
            tempfile.TemporaryDirectory(
                prefix="fastgpu-proxy-", ignore_cleanup_errors=True
            ) as folder,
        ):
            self._shared = listener.fileno(), lifeline, Path(folder)
            self._fill()
            for number in told:
                if number in {signal.SIGTERM, signal.SIGINT}:
                    break
                if number == signal.SIGHUP:
                    self._replace_all()
                self._bury()
                self._fill()
            self._end_all()
        os.close(held)
        return 0

    def _fill(self) -> None:
        while len(self._serving) < self._settings.processes:
            self._count += 1
            is_relief = self._count > self._settings.processes
            self._serving.append(_Process(str(self._count), *self._shared, is_relief=is_relief))

    def _bury(self) -> None:
        """Forget those that have ended; whoever should have served is replaced."""
        for process in [*self._serving, *self._retired]:
            if process.has_ended():
                if process in self._serving:
                    logger.warning("process %s has ended by itself", process.number)
                    time.sleep(max(0.0, process.started_at + RESTART_SECONDS - time.monotonic()))
                self._serving = [each for each in self._serving if each is not process]
                self._retired = [each for each in self._retired if each is not process]

    def _replace_all(self) -> None:
        old, self._serving = self._serving, []
        self._fill()
        if self._come_up():
            gone, number = old, signal.SIGUSR1
        else:
            logger.error("the new processes do not come up: the old ones go on")
            gone, number = self._serving, signal.SIGTERM
            self._serving = old
        for process in gone:
            process.tell(number)
        self._retired += gone

    def _come_up(self) -> bool:
        """Wait until all serve; false where one has ended, or it takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not any(each.has_ended() for each in self._serving):
            if all(each.is_ready() for each in self._serving):
                return True
            time.sleep(0.02)
        return False

    def _end_all(self) -> None:
        everybody = [*self._serving, *self._retired]
        for process in everybody:
            process.tell(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        for process in everybody:
            process.end_by(deadline)


class _Process:
    """One that serves."""

    def __init__(
        self, number: str, listener: int, lifeline: int, folder: Path, *, is_relief: bool
    ) -> None:
        self.number = number
        self.started_at = time.monotonic()
        self._place = folder / number
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "clusters.proxy"),
                *("--listener", str(listener), "--lifeline", str(lifeline)),
                *("--folder", str(folder), "--number", number),
                *(["--relief"] if is_relief else []),
            ],
            pass_fds=(listener, lifeline),
        )

    def is_ready(self) -> bool:
        """Whether it serves."""
        return self._place.exists()

    def has_ended(self) -> bool:
        """Whether it is gone; then the others ask it no more."""
        if self._popen.poll() is None:
            return False
        self._place.unlink(missing_ok=True)
        return True

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def end_by(self, deadline: float) -> None:
        """Wait for its end, and bring it about at `deadline`."""
        try:
            self._popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


@contextmanager
def _signals() -> Iterator[Iterator[int]]:
    """Signals as they come, in order, none missed."""
    heard, woken = os.pipe()
    os.set_blocking(woken, False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        yield _numbers(heard)
    finally:
        signal.set_wakeup_fd(before)
        os.close(heard)
        os.close(woken)


def _numbers(heard: int) -> Iterator[int]:
    while True:
        yield from os.read(heard, 64)
