"""A server that stands by, under a supervisor, until it is made an attempt.

Its folder is `<root>/standby/<name>`. Whoever renames that to `<root>/attempts/<external name>`
has claimed it: the rename is the one step that two cannot both do, and everything is decided by
it. Before it, the claimer has put `claim-<external name>.json` there (claims.py); after it, the
supervisor, which knows its folder by its working directory, goes on alone, whether the claimer
lives or not. Giving the server up is decided the same way: only who has renamed the folder to
`.ending-<name>` may end it.

Should anything of the claim fail, the sandbox is killed and the attempt is started in the same
folder as if nothing had stood by. Nothing of the team's has run by then.
"""

# pathlib would cost 10 ms of the time a user waits for the start.
# ruff: noqa: PTH104, PTH108, PTH109, PTH110, PTH116, PTH119, PTH120, PTH123, PTH208

from __future__ import annotations

import json
import os
import socket
import time

from clusters.backends import erase
from clusters.backends.local import fitting, watch
from clusters.backends.local.joblog import JobLog
from clusters.backends.local.supervise import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from clusters.backends.local.inner import Inner

ENDING = ".ending-"
FORGOTTEN_SECONDS = 600.0
"""A portal that wants it says so by touching `wanted`; after so long all have forgotten it."""
ANSWER_SECONDS = 5.0
READY, CLAIM, CLAIMED = b"ready\n", b"claim %d\n", b"claimed\n"


class StandbySupervisor(Supervisor):
    """The loop of the supervisor around a server that is nobody's yet."""

    def __init__(self, plan: dict[str, Any], notify_fd: int | None) -> None:
        super().__init__(plan, notify_fd)
        self.name = os.path.basename(os.getcwd())
        self.is_standby = self.state["standby"] = True
        self.cold: dict[str, Any] | None = None
        """The claim that has to be met without this server."""
        # Its home is looked after from the claim on.
        self.next_disk = float("inf")

    def open_log(self) -> JobLog:
        """What it prints before it is claimed is not the team's."""
        return JobLog(self.plan["log_bytes"], "standby.log")

    def write_placement(self) -> None:
        """Only an attempt has one."""
        if not self.is_standby:
            super().write_placement()

    def launch(self) -> None:
        """Start the sandbox with one end of a socket in it."""
        self.server, theirs = socket.socketpair()
        with theirs:
            self.standby_fd = theirs.fileno()
            super().launch()
        self.listen(self.server.fileno(), self.on_ready)

    def on_start(self) -> None:
        """The sandbox is there; the attempt begins when it is claimed."""
        if self.read(self.start_fd, 1):
            self.on_status()
            self.notify()

    def on_ready(self) -> None:
        """The server answers; or it is gone, of which the end of the sandbox will tell."""
        self.ignore(self.server.fileno())
        if self.server.recv(len(READY)) == READY:
            self.state["ready_at"] = time.time()
            self.save(durable=False)

    def on_control(self) -> None:
        """Somebody has claimed it, or wants something of an attempt."""
        self.look_around()
        super().on_control()

    def tick(self, now: float) -> None:
        """Also look whether a claimer died before it could wake us."""
        self.look_around()
        super().tick(now)

    def look_around(self) -> None:
        """Be claimed, or end when nobody wants this server any more."""
        if not self.is_standby or self.reason or self.exit_status is not None:
            return
        if is_claimed():
            self.be_claimed()
        elif time.time() - os.stat("wanted").st_mtime > FORGOTTEN_SECONDS and self.give_up():
            self.end("stopped", "no portal wants it any more", 0)

    def give_up(self) -> bool:
        """Whether nobody can claim it any more."""
        try:
            os.rename(f"../{self.name}", f"../{ENDING}{self.name}")
        except FileNotFoundError:
            return not is_claimed()
        return True

    def be_claimed(self) -> None:
        """Be the attempt in whose place the folder lies now."""
        is_ready = "ready_at" in self.state
        claim = self.take_over()
        if os.path.exists("stop"):
            self.heed_stop()
            return
        try:
            self.fit(claim, self.inner if is_ready else None)
        # Whatever it was: the attempt has to run, without what stood by.
        except Exception as error:
            os.write(2, f"The claim failed, the attempt starts anew: {error!r}\n".encode())
            self.cold = claim
            self.kill()

    def take_over(self) -> dict[str, Any]:
        """Read the claim and write down who this is now."""
        with open(f"claim-{os.path.basename(os.getcwd())}.json", "rb") as file:
            claim: dict[str, Any] = json.load(file)
        self.plan = claim["plan"] | {name: self.plan[name] for name in ("uid", "cgroups", "token")}
        self.is_standby = False
        watch.replace_file("spec.json", json.dumps(self.plan).encode(), durable=False)
        for name in os.listdir():
            # Those of others too, who came too late.
            if name.startswith("claim-"):
                os.unlink(name)
        self.state = {"supervisor": self.state["supervisor"]}
        self.write_placement()
        return claim

    def fit(self, claim: dict[str, Any], inner: Inner | None) -> None:
        """Make the sandbox the attempt's; then it begins. Whatever is raised: it did not."""
        if inner is None:
            raise RuntimeError("the server was not ready")
        fitting.set_limits(claim["limits"])
        self.on_output()
        self.log.close()
        self.log = JobLog(self.plan["log_bytes"])
        erase.clear("home", keep="checkpoints")
        fitting.dress(inner, claim, seen_as=self.plan["uid"])
        fitting.hand_over(claim["env"])
        self.server.settimeout(ANSWER_SECONDS)
        # It limits itself: another process's limits cannot be set in all places we run.
        size = -1 if self.plan["file_bytes"] is None else self.plan["file_bytes"]
        self.server.sendall(CLAIM % size)
        answer = self.server.recv(4096)
        if answer != CLAIMED:
            raise RuntimeError(f"the server said {answer!r}")
        self.server.close()
        self.next_disk = time.monotonic()
        self.begin()

    def finish(self) -> None:
        """The end of an attempt; or of a server that nobody has claimed or can claim any more."""
        if self.is_standby and not self.give_up():
            os.write(2, b"The server died before its claim, the attempt starts anew\n")
            self.cold = self.take_over()
        if self.is_standby:
            self.state.update(ended_at=time.time(), reason=self.reason or "completed")
            self.save(durable=False)
            self.notify()
            self.tidy()
        elif self.cold is None:
            super().finish()

    def close(self) -> None:
        """Let go of what belonged to the sandbox that was."""
        for fd in list(self.handlers):
            self.ignore(fd)
            os.close(fd)
        self.log.close()


def is_claimed() -> bool:
    """Whether the current folder is an attempt's."""
    return os.path.basename(os.path.dirname(os.getcwd())) == "attempts"


def run_here(plan: dict[str, Any], notify_fd: int | None) -> None:
    """Keep the server of the current folder standing by, and run the attempt that it becomes."""
    standby = StandbySupervisor(plan, notify_fd)
    standby.run()
    if standby.cold is not None:
        groups = standby.cgroups
        standby.close()
        start_cold(standby.cold, groups)


def start_cold(claim: dict[str, Any], groups: dict[str, str]) -> None:
    """Run the attempt as one that nothing stood by for, in its folder and the same cgroups."""
    plan = claim["plan"] | {"cgroups": groups}
    problem = ""
    try:
        fitting.set_limits(claim["limits"])
        fitting.make_new(claim["inside"], plan["uid"])
    except OSError as error:
        problem = f"could not be started anew: {error}"
    watch.replace_file("spec.json", json.dumps(plan).encode(), durable=False)
    supervisor = Supervisor(plan, None)
    if problem:
        supervisor.reason, supervisor.detail = "start_failed", problem
    supervisor.run()
