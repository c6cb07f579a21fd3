"""One attempt from its start to its end: the loop of the supervisor (see supervisor.py)."""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH108, PTH110, PTH123

from __future__ import annotations

import fcntl
import json
import os
import signal
import time

from clusters.backends.local import confine, freezer, verdict, watch
from clusters.backends.local.inner import Inner
from clusters.backends.local.joblog import JobLog
from clusters.backends.local.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEARTBEAT_SECONDS = 5.0
DISK_CHECK_SECONDS = 1.0
ENDING_CHECK_SECONDS = 0.05
CHUNK_BYTES = 1 << 18
F_SETPIPE_SZ = 1031


class Supervisor(Loop):
    """One attempt from its start to its end; all paths are relative to the attempt folder.

    The time limit is wall-clock time since the command began, and time on hold counts too: the
    GPUs and the memory stay taken. A stop and the time limit let what is on hold go on first.
    """

    def __init__(self, plan: dict[str, Any], notify_fd: int | None) -> None:
        super().__init__()
        self.plan = plan
        self.cgroups: dict[str, str] = plan["cgroups"]
        self.notify_fd = notify_fd
        self.state: dict[str, Any] = {"supervisor": watch.identity(os.getpid())}
        self.log = self.open_log()
        self.standby_fd: int | None = None
        """The sandbox's end of a socket, for what stands by."""
        self.child = 0
        self.exit_status: int | None = None
        self.inner: Inner | None = None
        self.status = b""
        self.reason = self.detail = ""
        self.killed = False
        self.time_up: float | None = None
        self.kill_at = 0.0
        self.next_beat = 0.0
        self.next_disk = time.monotonic() + DISK_CHECK_SECONDS

    def open_log(self) -> JobLog:
        """Where its output goes."""
        return JobLog(self.plan["log_bytes"])

    def run(self) -> None:
        """Run the attempt to its end and write that end. Returns when all of it is dead."""
        self.save(durable=True)
        self.write_placement()
        self.watch_control()
        if not self.reason:
            self.launch()
            while self.child and self.exit_status is None:
                self.handle(self.wait_ms())
                self.tick(time.monotonic())
            self.drain()
        self.finish()

    def launch(self) -> None:
        """Fork the sandbox with its output, start and status pipes."""
        output, start, status = (os.pipe() for _ in range(3))
        fcntl.fcntl(output[0], F_SETPIPE_SZ, 1 << 20)
        self.child = os.fork()
        if not self.child:
            confine.become_sandbox(self.plan, output[1], start[1], status[1], self.standby_fd)
        for pipe, handler in (
            (output, self.on_output),
            (start, self.on_start),
            (status, self.on_status),
        ):
            os.close(pipe[1])
            os.set_blocking(pipe[0], False)
            self.listen(pipe[0], handler)
        self.output_fd, self.start_fd, self.status_fd = output[0], start[0], status[0]
        self.listen(os.pidfd_open(self.child), self.on_exit)
        if not self.plan["sandboxed"]:
            self.set_inner(self.child)

    def watch_control(self) -> None:
        """Listen for requests: the files `stop` and `pause` say what, the FIFO only wakes us."""
        if not os.path.exists("control"):
            os.mkfifo("control", 0o600)
        self.control_fd = os.open("control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.listen(self.control_fd, self.on_control)
        self.heed_stop()

    def on_control(self) -> None:
        os.read(self.control_fd, 4096)
        self.heed_stop()
        self.heed_pause()

    def heed_pause(self) -> None:
        """Hold the attempt, or let it go on, as the file `pause` says."""
        wanted = os.path.exists("pause")
        running = self.inner is not None and "started_at" in self.state and not self.reason
        if running and wanted != self.state.get("paused", False):
            self.set_paused(wanted)

    def set_paused(self, paused: bool) -> None:  # noqa: FBT001 (a setter)
        """Freeze or thaw, and say so in the state."""
        if self.inner is not None:
            change = freezer.freeze if paused else freezer.thaw
            change(self.cgroups, self.inner.pid)
        self.state["paused"] = paused
        self.save(durable=False)

    def heed_stop(self) -> None:
        try:
            with open("stop", encoding="ascii") as file:
                grace = float(file.read())
        except FileNotFoundError:
            return
        self.end("stopped", "stopped on request", grace)

    def on_output(self) -> None:
        data = self.read(self.output_fd, CHUNK_BYTES)
        if data:
            self.log.append(data)

    def on_start(self) -> None:
        if not self.read(self.start_fd, 1) or "started_at" in self.state:
            return
        # bwrap wrote it before it let the command begin.
        self.on_status()
        self.begin()

    def begin(self) -> None:
        """The command begins now."""
        now = time.time()
        self.state["started_at"] = now
        self.state["inner_pid"] = self.inner.pid if self.inner else None
        self.time_up = time.monotonic() + self.plan["time_limit_seconds"]
        self.save(durable=False)
        self.notify()
        self.heed_pause()

    def notify(self) -> None:
        """Tell the process that submitted; it may be gone, which is no matter of ours."""
        if self.notify_fd is not None:
            notify_fd, self.notify_fd = self.notify_fd, None
            try:
                os.write(notify_fd, b"+")
            except BrokenPipeError:
                return
            finally:
                os.close(notify_fd)

    def on_status(self) -> None:
        """Learn the first process inside; bwrap writes its line in pieces."""
        data = self.read(self.status_fd, 4096)
        if data and self.inner is None:
            self.status += data
            line, newline, _ = self.status.partition(b"\n")
            if newline:
                self.set_inner(json.loads(line)["child-pid"])

    def set_inner(self, pid: int) -> None:
        try:
            self.inner = Inner(pid, sandboxed=self.plan["sandboxed"])
        except ProcessLookupError:
            return
        if self.killed:
            self.inner.kill()

    def on_exit(self) -> None:
        _, self.exit_status = os.waitpid(self.child, 0)

    def wait_ms(self) -> int:
        """Milliseconds until something is due."""
        due = min(self.next_beat, self.next_disk)
        if self.reason and not self.killed:
            due = min(due, self.kill_at, time.monotonic() + ENDING_CHECK_SECONDS)
        elif self.time_up is not None and not self.reason:
            due = min(due, self.time_up)
        return max(0, int((due - time.monotonic()) * 1000) + 1)

    def tick(self, now: float) -> None:
        """Do what is due at the monotonic second `now`."""
        if now >= self.next_beat:
            with open("heartbeat", "w", encoding="ascii"):
                os.utime("heartbeat")
            self.next_beat = now + HEARTBEAT_SECONDS
        if self.exit_status is not None:
            return
        if self.reason and not self.killed:
            if now >= self.kill_at:
                self.kill()
            elif self.inner is not None and self.inner.is_alone():
                self.inner.resume()
        elif not self.reason and self.time_up is not None and now >= self.time_up:
            limit = self.plan["time_limit_seconds"]
            self.end(
                "time_limit", f"reached its time limit of {limit} s", self.plan["grace_seconds"]
            )
        if now >= self.next_disk:
            self.check_disk()
            # A home of a million files must not keep this process busy.
            self.next_disk = time.monotonic() + max(
                DISK_CHECK_SECONDS, 20 * (time.monotonic() - now)
            )

    def check_disk(self) -> None:
        if self.killed:
            return
        held = watch.unlinked_bytes(self.inner.pid, "home") if self.inner else 0
        if held + self.usage_bytes() >= self.plan["disk_bytes"]:
            self.end("disk_full", verdict.DISK_FULL.format(self.plan["disk_bytes"]), 0)

    def usage_bytes(self) -> int:
        """Disk space taken, but for the volume, counted until it reaches the limit."""
        limit, used = self.plan["disk_bytes"], 0
        for folder in ("home", "serve", self.plan["checkpoints"]):
            used += watch.usage_bytes(folder, limit - used)
        return used

    def end(self, reason: str, detail: str, grace: float) -> None:
        """Begin to end the attempt: SIGTERM inside now, SIGKILL after `grace` seconds."""
        if self.exit_status is not None:
            return
        now = time.monotonic()
        if self.state.get("paused"):
            self.set_paused(False)
        if self.reason:
            self.kill_at = min(self.kill_at, now + grace)
        else:
            self.reason, self.detail, self.kill_at = reason, detail, now + grace
            if self.child and grace > 0 and self.inner is not None:
                self.inner.terminate()
        if self.child and (now >= self.kill_at or "started_at" not in self.state):
            self.kill()

    def kill(self) -> None:
        """Kill all of it; before the first process inside is known, bwrap, which takes it along."""
        self.killed = True
        if self.inner is not None:
            self.inner.kill()
        else:
            os.kill(self.child, signal.SIGKILL)

    def drain(self) -> None:
        """Take what the dead left in the pipes."""
        watch.empty_cgroups(self.cgroups)
        self.on_start()
        while self.output_fd in self.handlers:
            data = self.read(self.output_fd, CHUNK_BYTES)
            if not data:
                break
            self.log.append(data)

    def finish(self) -> None:
        """Name the reason, write the end and leave nothing behind but the folder."""
        if self.exit_status is not None:
            verdict.judge(self, self.exit_status)
        ended = max(time.time(), self.state.get("started_at", 0.0))
        self.state.update(ended_at=ended, reason=self.reason, detail=self.detail, paused=False)
        os.unlink("placement.json")
        self.save(durable=True)
        self.notify()
        self.tidy()

    def tidy(self) -> None:
        """Remove what the kernel still has of the attempt."""
        watch.remove_cgroups(self.cgroups)

    def oom_kills(self) -> int:
        """How often the kernel killed here for want of memory."""
        return watch.oom_kills(self.cgroups)

    def save(self, *, durable: bool) -> None:
        """Replace state.json as a whole; `durable` also against a power cut."""
        watch.replace_file("state.json", json.dumps(self.state).encode(), durable=durable)

    def write_placement(self) -> None:
        """What the node agent needs to measure the attempt; gone when the attempt has ended."""
        placement = {
            "external_name": self.plan["external_name"],
            "gpu_uuids": self.plan["gpu_uuids"],
            "cgroups": self.cgroups,
            "supervisor": self.state["supervisor"],
        }
        watch.replace_file("placement.json", json.dumps(placement).encode(), durable=False)


def run_here(notify_fd: int | None) -> None:
    """Run the attempt of the current folder to its end."""
    with open("spec.json", "rb") as file:
        plan = json.load(file)
    if plan["runtime"] == "oci":
        # Its imports are not for bubblewrap's start to pay.
        from clusters.backends.local.container import ContainerSupervisor

        ContainerSupervisor(plan, notify_fd).run()
    elif "standby" in plan:
        from clusters.backends.local import standing

        standing.run_here(plan, notify_fd)
    else:
        Supervisor(plan, notify_fd).run()
