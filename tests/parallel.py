"""How `make test` shares the tests out among processes (a pytest plugin on pytest-xdist).

A file stays in one process, and so do groups that share something of the machine. Whole stacks,
Slurm and browsers come last and alone: they are about time, so nothing runs beside them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.groups import ALONE, together

# Tests are collected by those who run them; a file tells who shares them out what belongs together.
_TOLD = "together"


class Shares(LoadScopeScheduling):
    """Files and groups in the order of collection; `ALONE` once the other processes are done."""

    def __init__(self, config: pytest.Config, log: Any, told: Path) -> None:
        super().__init__(config, log)
        self._told = told
        self._together: dict[str, str] = {}

    def schedule(self) -> None:
        """Begin, or look who has nothing to do."""
        if self.collection is None:
            self._together = json.loads(self._told.read_text(encoding="utf-8"))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        """What goes to one process together."""
        return self._together.get(nodeid) or nodeid.partition("::")[0]

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


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Ours, whatever `--dist` says."""
    return Shares(config, log, _told(config))


def pytest_configure_node(node: WorkerController) -> None:
    """A process is about to start."""
    node.workerinput[_TOLD] = str(_told(node.config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In each process, and the same in all: before xdist says that it is ready."""
    path = getattr(session.config, "workerinput", {}).get(_TOLD)
    if path:
        new = Path(tempfile.mkstemp(dir=Path(path).parent)[1])
        groups = {item.nodeid: together(item) for item in session.items}
        new.write_text(json.dumps(groups), encoding="utf-8")
        new.replace(path)


_folder = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def _told(config: pytest.Config) -> Path:
    """Where the file is; it goes with the configuration."""
    if _folder not in config.stash:
        config.stash[_folder] = tempfile.TemporaryDirectory(prefix="fgt-")
    return Path(config.stash[_folder].name) / "groups.json"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if (made := config.stash.get(_folder, None)) is not None:
        made.cleanup()
