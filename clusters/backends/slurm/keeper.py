"""Beside a running command on a compute node: its log, its limits, its end.

Runs by itself (`python3 -I -S`), from Python 3.6 on, as the team's user; it starts while the
command already runs. Standard input carries the command's process id on a line of its own and
then everything the command prints. Arguments::

    <log file, or - for standard output> <ceiling in bytes> <time limit in seconds>
    <grace in seconds> <start, seconds since the epoch> <stop file> <flag file>
    <job step that is told to end, or -> <file that asks for a terminal, or ->

The command is the leader of a process group. SIGTERM to us, the flag file, the stop file (it
holds a grace) or the time limit: SIGTERM to the group, SIGKILL after the grace. A terminal that is
asked for anew is the wrapper's to start, which gets SIGUSR2. What is left of
the group when the command has ended is killed, except while it uses the grace it was given. All
of it is killed once a later start of the same job has begun: two must not write checkpoints.
"""

# Started on a compute node without site packages: only what is quick to import.
# ruff: noqa: PTH110, PTH116, PTH118, PTH120, PTH123, SIM105

import os
import select
import signal
import sys
import time

CHUNK = 1 << 18
LOOK_SECONDS = 1.0
BEAT_SECONDS = 0.5
DRAIN_SECONDS = 1.0
STEP_MARGIN_SECONDS = 3.0


class Log:
    """Appends to a descriptor; past its room, one notice and no more. No ceiling: `limit` 0."""

    def __init__(self, path, limit):  # type: (str, int) -> None
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._fd = 1 if path == "-" else os.open(path, flags, 0o600)
        self._limit = limit
        self._room = limit
        self._full = False

    def append(self, data):  # type: (bytes) -> None
        """Write what there is room for; a full disk drops, and never stops the reading."""
        if self._full:
            return
        kept = data
        if self._limit:
            kept = data[: self._room]
            self._room -= len(kept)
            if len(kept) < len(data):
                self._full = True
                notice = f"\n[FastGPU: this log reached its limit of {self._limit} bytes; "
                kept += (notice + "further output is dropped]\n").encode()
        try:
            while kept:
                kept = kept[os.write(self._fd, kept) :]
        except OSError:
            self._full = True


class Keeper:
    """One command, from the first byte of its output to the end of its group."""

    def __init__(self, argv):  # type: (list[str]) -> None
        log, ceiling, limit, self._grace, began, self._stop, self._flag = argv[:7]
        self._step, self._asking = argv[7:]
        # Of an earlier start.
        self._asked = _stamp(self._asking)
        self._log = Log(log, int(ceiling))
        self._later = _next_start(os.path.dirname(self._flag))
        self._alive = os.path.join(os.path.dirname(self._flag), "alive")
        self._next_beat = 0.0
        self._began = time.monotonic() - max(0.0, time.time() - float(began))
        self._limit_at = self._began + int(limit) if int(limit) else None
        self._kill_at = None  # type: float | None
        self._drained_by = None  # type: float | None
        self._killed = False
        self._is_open = True
        self._told = False
        self._head = b""
        self._pid = 0
        self._parent = os.getppid()
        self._wake, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGUSR1, lambda *_: None)

    def _on_term(self, *_):  # type: (object) -> None
        self._told = True

    def run(self):  # type: () -> None
        """Until the output is read and the group is gone, or there is no hope of either."""
        poller = select.poll()
        poller.register(0, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._is_done():
            for fd, _ in poller.poll(self._timeout() * 1000):
                if fd == 0:
                    self._read(poller)
                else:
                    os.read(self._wake, 64)
            self._beat()
            if self._pid:
                self._consider()

    def _beat(self):  # type: () -> None
        """Touch the sign of life up to which a run is charged whose node is lost."""
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + BEAT_SECONDS
        try:
            with open(self._alive, "a"):
                os.utime(self._alive)
        except OSError:
            # A full disk stops no run.
            pass

    def _timeout(self):  # type: () -> float
        now = time.monotonic()
        times = [self._limit_at, self._kill_at, self._drained_by]
        waits = [at - now for at in times if at is not None and at > now]
        ended = self._pid and not _is_alive(self._pid)
        return max(0.001, min([*waits, 0.02 if ended else LOOK_SECONDS]))

    def _read(self, poller):  # type: (select.poll) -> None
        data = os.read(0, CHUNK)
        if not data:
            self._is_open = False
            poller.unregister(0)
        elif self._pid:
            self._log.append(data)
        else:
            self._head += data
            number, newline, rest = self._head.partition(b"\n")
            if newline:
                self._pid = int(number)
                self._log.append(rest)

    def _consider(self):  # type: () -> None
        now = time.monotonic()
        if self._kill_at is None:
            if self._told or os.path.exists(self._stop) or os.path.exists(self._flag):
                self._end(now, self._grace_asked())
            elif self._limit_at is not None and now >= self._limit_at:
                self._end(now, float(self._grace))
            elif not _is_alive(self._pid):
                # It ended by itself: what it left behind is not waited for.
                self._kill_at = now
        if self._kill_at is None and os.path.exists(self._later):
            # Slurm took this node for dead and started the job elsewhere.
            self._kill_at = now
        if self._kill_at is None:
            self._pass_on()
        if self._kill_at is not None and now >= self._kill_at and not self._killed:
            self._killed = True
            self._drained_by = now + DRAIN_SECONDS
            self._send(signal.SIGKILL)

    def _pass_on(self):  # type: () -> None
        asked = _stamp(self._asking)
        if asked and asked != self._asked:
            self._asked = asked
            os.kill(self._parent, signal.SIGUSR2)

    def _grace_asked(self):  # type: () -> float
        try:
            with open(self._stop) as file:
                return float(file.read(20))
        except (OSError, ValueError):
            return float(self._grace)

    def _end(self, now, grace):  # type: (float, float) -> None
        # Each node of several has a keeper of its own, which is told through the step.
        margin = STEP_MARGIN_SECONDS if self._step != "-" else 0.0
        self._kill_at = now + grace + margin
        self._send(signal.SIGTERM)

    def _send(self, number):  # type: (int) -> None
        if self._step != "-":
            import subprocess

            argv = ["scancel", "--quiet", f"--signal={int(number)}", self._step]
            subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            if number == signal.SIGTERM:
                return
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _is_done(self):  # type: () -> bool
        if os.getppid() != self._parent:
            return True
        if self._drained_by is not None and time.monotonic() >= self._drained_by:
            return True
        if not self._pid:
            return not self._is_open
        return not self._is_open and not _is_alive(self._pid) and not _group_is_alive(self._pid)


def _stamp(path):  # type: (str) -> tuple[int, int] | None
    """Which file is there now: whoever asks again puts another in its place."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _next_start(place):  # type: (str) -> str
    """Where the next start of this job would work: its last number is one higher."""
    folder, name = os.path.split(place)
    task, dot, restart = name.rpartition(".")
    return os.path.join(folder, task + dot + str(int(restart) + 1))


def _is_alive(pid):  # type: (int) -> bool
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _group_is_alive(pid):  # type: (int) -> bool
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    Keeper(sys.argv[1:]).run()
    # Not through the interpreter's own end, which takes our handlers away first: a SIGUSR1 that
    # comes then would kill us, and the shell would say so in the log.
    os._exit(0)
