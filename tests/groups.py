"""Groups of tests that need something of the machine (a pytest plugin).

A group whose need is not met is left out and the summary says so; with `--all-groups`, as CI
runs it, that is a failure.
"""

from __future__ import annotations

import os
import shutil

import pytest
from _pytest.terminal import TerminalReporter

from tests.debian_postgres import BINARIES

# Group -> the programs it needs, and whether only root can start them.
NEEDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "sandbox": (("bwrap",), False),
    "stack": (("bwrap",), False),
    "browser": (("chromium",), False),
    "oci": (("podman", "runc"), True),
    "debian": ((str(BINARIES / "initdb"),), False),
    "slurm": (("slurmctld", "slurmd", "slurmrestd", "slurmdbd", "munged", "mariadbd"), True),
}
# Their own folders, which an ordinary user's PATH may lack.
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# Those that share something of the machine: one process has them all. In the order they run in.
MUTANTS, SANDBOX, ALONE = "mutants", "sandbox", "alone"
TOGETHER = {
    "mutants": MUTANTS, "sandbox": SANDBOX, "oci": SANDBOX, "slurm": ALONE, "stack": ALONE,
    "browser": ALONE,
}  # fmt: skip
ORDER = (MUTANTS, SANDBOX, "", ALONE)
_left_out: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-groups`."""
    parser.addoption("--all-groups", action="store_true", help="fail if a group is left out")


def pytest_configure() -> None:
    """See what this machine can run."""
    for group, (programs, needs_root) in NEEDS.items():
        gone = [name for name in programs if shutil.which(name, path=SEARCHED) is None]
        if gone:
            _left_out[group] = f"{', '.join(gone)}: not installed (make deps, as root, installs it)"
        elif needs_root and os.geteuid() != 0:
            _left_out[group] = "only root can start what it needs"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the groups this machine cannot run; whole stacks go last, browsers after them.

    Within a group the order stays by chance. A browser comes last because Playwright keeps an
    event loop in this thread, in which no test of our own coroutines can run.
    """
    kept = [item for item in items if not _groups_of(item) & _left_out.keys()]
    left = [item for item in items if _groups_of(item) & _left_out.keys()]
    if left:
        config.hook.pytest_deselected(items=left)
    items[:] = sorted(kept, key=_turn)


def _turn(item: pytest.Item) -> tuple[int, bool]:
    return ORDER.index(together(item)), "browser" in _groups_of(item)


def together(item: pytest.Item) -> str:
    """The last of those that its groups belong to; empty: any process will do."""
    names = {TOGETHER[name] for name in _groups_of(item) if name in TOGETHER}
    return max(names, key=ORDER.index, default="")


def _groups_of(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers() if mark.name in NEEDS | TOGETHER}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leaving out a group fails where all are demanded."""
    if _left_out and session.config.getoption("--all-groups"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what was left out and why."""
    for group, why in _left_out.items():
        terminalreporter.write_line(f"LEFT OUT: group {group}: {why}", red=True)
