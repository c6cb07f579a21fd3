"""How `make test` shares the tests out among processes (a pytest plugin on pytest-xdist).

A file stays in one process, and so do groups that share something of the machine. Whole stacks,
Slurm and browsers come last and alone: they are about time, so nothing runs beside them.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.groups import ALONE


class Shares(LoadScopeScheduling):
    """Files and groups in the order of collection; `ALONE` once the other processes are done."""

    def _split_scope(self, nodeid: str) -> str:
        """The group that xdist has put behind the name, else the file."""
        at = nodeid.rfind("@")
        return nodeid[at + 1 :] if at > nodeid.rfind("]") else nodeid.partition("::")[0]

    def _reschedule(self, node: WorkerController) -> None:
        if next(iter(self.workqueue), None) != ALONE:
            super()._reschedule(node)
        elif sum(not other.shutting_down for other in self.nodes) > 1:
            # It does what it still has, then ends.
            if self._pending_of(self.assigned_work[node]) <= 2:
                node.shutdown()
        elif len(self.nodes) == 1:
            super()._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """The last one left may go on with what has to be alone."""
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Ours, whatever `--dist` says."""
    return Shares(config, log)
