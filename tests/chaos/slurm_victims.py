"""What a storm kills of a Slurm, and what brings it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg

from tests.chaos.victims import Strike
from tests.slurm.lab import SlurmLab
from tests.stacks.portal import Stack

POOL = (
    "--slug=slurm", "--name=A100 on Slurm", "--backend=slurm", "--gpu-model=NVIDIA A100",
    "--price=2.10", "--option=partition=gpu", "--option=gpu_type=a100", "--max-gpus=32",
    "--memory-gib-per-gpu=1", "--cores-per-gpu=1", "--grace-seconds=2", "--environment=system",
)  # fmt: skip
SLURM_PARTS = {"slurmctld": 2, "slurmd": 2, "slurmrestd": 2}
# How long a part is away.
AWAY_SECONDS = 2.0


class SlurmParts:
    """The daemons of a lab. One fault at a time: each is over before the next begins.

    `lost_nodes` collects the names of nodes that were killed, `forgot_at` when slurmctld was: one
    that is killed forgets the jobs of its last seconds.
    """

    def __init__(self, lab: SlurmLab) -> None:
        self._lab = lab
        self._faults = ThreadPoolExecutor(1)
        self._pending: list[Future[None]] = []
        self.lost_nodes: set[str] = set()
        self.forgot_at: list[float] = []

    def add_pool(self, stack: Stack) -> None:
        """A pool on it, as an operator adds one."""
        with psycopg.connect(stack.database_url) as connection:
            teams = connection.execute("SELECT id FROM accounts_team").fetchall()
        for (team,) in teams:
            self._lab.add_user(team)
        stack.manage("add_pool", *POOL)

    def strikes(self) -> Mapping[str, Strike]:
        """What kills each."""
        lab = self._lab
        return {
            "slurmctld": lambda _choice: self._fault(self._kill_controller, lab.start_controller),
            "slurmrestd": lambda _choice: self._fault(lab.kill_rest, lab.start_rest),
            "slurmd": self._kill_node,
        }

    def tend(self) -> None:
        """Resume, as staff do, a node that Slurm has drained.

        It does when a slurmctld that forgot its last seconds starts a job where one runs already.
        """
        drained = self._lab.run("sinfo", "-h", "-N", "-t", "drain", "-o", "%N", check=False)
        for name in sorted(set(drained.split())):
            self._lab.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)

    def wait(self) -> None:
        """Until everything is back; raises what went wrong."""
        for fault in self._pending:
            fault.result()
        self._faults.shutdown()

    def _kill_controller(self) -> None:
        self.forgot_at.append(time.time())
        self._lab.kill_controller()

    def _kill_node(self, choice: float) -> str:
        number = 1 + int(choice * len(self._lab.node_names))
        name = self._lab.node_names[number - 1]

        def kill() -> None:
            self.lost_nodes.add(name)
            self._lab.kill_node(number)

        return f"{name}: {self._fault(kill, lambda: self._lab.start_node(number))}"

    def _fault(self, kill: Callable[[], None], start: Callable[[], None]) -> str:
        def happen() -> None:
            kill()
            time.sleep(AWAY_SECONDS)
            start()

        self._pending.append(self._faults.submit(happen))
        return "killed, or about to be"
