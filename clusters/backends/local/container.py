"""An attempt in a container of docker or podman, under the same supervisor as a sandbox.

The container's first process is a script of ours (container_plan.start_script). It writes to the
FIFOs `inside/output` and `inside/events`, so that the log and the word that the command began
come as they do from bubblewrap, whatever the engine does with logs. When the command has ended
it says so and waits for `inside/go`: the engine removes the container's cgroups at its end, and
with them the count of kills for want of memory.

Once it runs, the engine is needed no more: the first process is held by pidfd, signalled from
here and frozen by its cgroup. That is also why the portal must be root for it.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH110, PTH123

from __future__ import annotations

import os
import time

from clusters.backends.local import watch
from clusters.backends.local.oci import OciAway, OciError, OciService, carries
from clusters.backends.local.supervise import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIFOS = ("output", "events", "go")
END_SECONDS = 10.0
"""For the engine to hear of a container's end: how it was, and that it may be removed."""
CGROUP_MOUNT = "/sys/fs/cgroup"
KILLED = 137


class ContainerSupervisor(Supervisor):
    """The loop of the supervisor with a container in bubblewrap's place."""

    def __init__(self, plan: dict[str, Any], notify_fd: int | None) -> None:
        super().__init__(plan, notify_fd)
        self.service = OciService(plan["oci_socket"])
        self.name = plan["external_name"]
        self.events = b""
        self.reported: int | None = None
        self.ooms = 0

    def launch(self) -> None:
        """Create and start the container; what the engine refuses is the attempt's end."""
        self.output_fd, self.events_fd, self.go_fd = (_open_fifo(f"inside/{n}") for n in FIFOS)
        self.listen(self.output_fd, self.on_output)
        self.listen(self.events_fd, self.on_events)
        try:
            self.create()
            self.service.start(self.name)
            self.hold(self.service.inspect(self.name))
        except OciError as error:
            self.reason, self.detail = "start_failed", f"the container did not start: {error}"
            if error.status == 404:
                self.reason = "image_missing"
        except OciAway as error:
            self.reason, self.detail = "start_failed", str(error)

    def create(self) -> None:
        """Make the container, or take the one of ours that carries the name already."""
        body = self.plan["oci_body"]
        try:
            self.service.create(self.name, body)
        except OciError as error:
            try:
                there = self.service.inspect(self.name)
            except OciError:
                raise error from None
            if not carries(there, body["Labels"]):
                raise OciError(409, f"a foreign container is called {self.name}") from error

    def hold(self, facts: dict[str, Any]) -> None:
        """Take hold of the container's first process and learn its cgroups."""
        pid = facts["State"]["Pid"]
        if pid:
            self.set_inner(pid)
        # Never 0: the loop goes on until the end is known.
        self.child = pid or -1
        if self.inner is None:
            self.on_exit()
            return
        self.cgroups = container_cgroups(pid, facts["Id"])
        self.write_placement()
        self.listen(os.pidfd_open(pid), self.on_exit)

    def on_events(self) -> None:
        """`start` when the command begins, `end <code>` when it has ended."""
        self.events = (self.events + (self.read(self.events_fd, 4096) or b""))[-8192:]
        *lines, self.events = self.events.split(b"\n")
        for line in lines:
            word, _, code = line.partition(b" ")
            if word == b"start" and "started_at" not in self.state:
                self.begin()
            elif word == b"end" and code.isdigit() and self.reported is None:
                self.reported = min(int(code), 255)
                self.ooms = watch.oom_kills(self.cgroups)
                os.write(self.go_fd, b"\n")

    def on_start(self) -> None:
        """The base class's last look: here the events."""
        self.on_events()

    def on_exit(self) -> None:
        """Its first process is gone: by its own word, or the engine's."""
        self.on_events()
        code = self.reported if self.reported is not None else self.engines_word()
        self.exit_status = (code & 0xFF) << 8

    def engines_word(self) -> int:
        """The exit code by the engine; KILLED, which it was, if that cannot tell."""
        engine = OciService(self.plan["oci_socket"], timeout=END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        try:
            state = engine.inspect(self.name)["State"]
            while state["Running"] and time.monotonic() < deadline:
                time.sleep(0.05)
                state = engine.inspect(self.name)["State"]
        except (OciAway, OciError):
            return KILLED
        self.ooms += bool(state.get("OOMKilled"))
        return KILLED if state["Running"] else int(state["ExitCode"])

    def kill(self) -> None:
        """Kill its first process, and with it all of the container."""
        self.killed = True
        if self.inner is not None:
            self.inner.kill()

    def oom_kills(self) -> int:
        """Counted while the container's cgroups were there."""
        return self.ooms

    def tidy(self) -> None:
        """Remove the container; if the engine is away a dead one stays, which does no harm."""
        try:
            labels = self.plan["oci_body"]["Labels"]
            self.service.remove(self.name, labels, within_seconds=END_SECONDS)
        except (OciAway, OciError) as error:
            os.write(2, f"the container {self.name} could not be removed: {error}\n".encode())


def container_cgroups(pid: int, container_id: str) -> dict[str, str]:
    """Controller -> folder of the container's own cgroups, as cgroups.create returns them.

    A path that does not name the container is left out: what lies there is not only its own,
    and whatever is in an attempt's cgroups is killed at its end.
    """
    found: dict[str, str] = {}
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if container_id not in path:
                continue
            for controller in controllers.split(","):
                folder = f"{CGROUP_MOUNT}/{controller}{path}".replace("//", "/")
                if "=" not in controller and os.path.exists(f"{folder}/cgroup.procs"):
                    found[controller or "unified"] = folder
    if len(found) > 1:
        # v1's hierarchies beside an empty v2 one.
        found.pop("unified", None)
    return found


def _open_fifo(path: str) -> int:
    if not os.path.exists(path):
        os.mkfifo(path)
    # The container's uid writes to two and reads the third; nothing worth keeping goes through.
    os.chmod(path, 0o644 if path.endswith("go") else 0o622)  # noqa: PTH101
    # Read and write, so that neither side ever waits for the other or sees an end.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
