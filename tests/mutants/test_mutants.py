"""Every deliberate fault of the table is seen by the test it names.

The tree is copied once; each fault is put in, its test runs in a process of its own on the same
database, and the fault is taken out again. Only a test that fails counts: one that cannot be found
or collected is no proof.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.mutants.table import MUTANTS, Mutant

pytestmark = pytest.mark.mutants
ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "portal", "accounts", "billing", "clusters", "templates", "static", "tests", "sdk",
    "manage.py", "pyproject.toml",
)  # fmt: skip
TESTS_FAILED = 1


@dataclass(frozen=True, slots=True)
class Copy:
    """A tree to break, and the database its tests use."""

    folder: Path
    environment: dict[str, str]

    def run(self, *tests: str) -> subprocess.CompletedProcess[str]:
        """Run these tests in it; the database is made with the first."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "--reuse-db",
            "-p",
            "no:cacheprovider",
        ]
        return subprocess.run(
            [*command, *tests],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The tree as it is, with a database of its own on the suite's server."""
    folder = tmp_path_factory.mktemp("mutants")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            leave = shutil.ignore_patterns("__pycache__", "mutants")
            shutil.copytree(source, folder / part, ignore=leave)
        else:
            shutil.copy(source, folder / part)
    url = urlsplit(os.environ["DATABASE_URL"])
    own = urlunsplit(url._replace(path=f"{url.path}_mutants"))
    unset = {"PYTEST_CURRENT_TEST", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return Copy(folder, environment | {"DATABASE_URL": own, "PYTHONDONTWRITEBYTECODE": "1"})


def test_all_of_them_pass_on_the_tree_as_it_is(copy: Copy) -> None:
    done = copy.run(*sorted({mutant.test for mutant in MUTANTS}))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_is_seen(copy: Copy, mutant: Mutant) -> None:
    path = copy.folder / mutant.path
    whole = path.read_text()
    assert whole.count(mutant.old) == 1, f"{mutant.path} has changed: bring the table along"
    path.write_text(whole.replace(mutant.old, mutant.new))
    try:
        done = copy.run(mutant.test)
    finally:
        path.write_text(whole)
    assert done.returncode == TESTS_FAILED, done.stdout[-3000:] + done.stderr[-1000:]
    assert "1 failed" in done.stdout, done.stdout[-3000:]
