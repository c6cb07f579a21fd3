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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.mutants.guards import UNGUARDED
from tests.mutants.mutant import Mutant
from tests.mutants.table import EDITED

pytestmark = [pytest.mark.mutants, pytest.mark.timeout(1800)]
MUTANTS = (*EDITED, *UNGUARDED)
ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "portal", "accounts", "billing", "clusters", "templates", "static", "tests", "sdk",
    "manage.py", "pyproject.toml",
)  # fmt: skip
TESTS_FAILED = 1
# All that these tests need: to load what else is installed takes longer than most of them.
PLUGINS = (
    "pytest_django.plugin", "pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin",
    "tests.stores", "tests.groups", "no:cacheprovider",
)  # fmt: skip
# Any test with a database will do: guards are taken off before the first fault's test.
MAKES_DATABASE = "tests/billing/actions/test_lots.py"


@dataclass(frozen=True, slots=True)
class Copy:
    """A tree to break, and the database its tests use."""

    folder: Path
    environment: dict[str, str]

    @property
    def test_database(self) -> str:
        """Where its tests' database is, as Django names it."""
        url = urlsplit(self.environment["DATABASE_URL"])
        return urlunsplit(url._replace(path=f"/test_{url.path[1:]}"))

    def run(self, *tests: str) -> subprocess.CompletedProcess[str]:
        """Run these tests in it; the database is made with the first."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--reuse-db"]
        plugins = [word for name in PLUGINS for word in ("-p", name)]
        return subprocess.run(
            [*command, *plugins, "-o", "addopts=", *tests],
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
    own_values = {
        "DATABASE_URL": own,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "MACHINE_SHRINK": "0",
    }
    copy = Copy(folder, environment | own_values)
    made = copy.run(MAKES_DATABASE)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-1000:]
    return copy


def test_all_of_them_pass_on_the_tree_as_it_is(copy: Copy) -> None:
    done = copy.run(*sorted({mutant.test for mutant in MUTANTS}))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_is_seen(copy: Copy, mutant: Mutant) -> None:
    with edited(copy, mutant), without_guards(copy, mutant):
        done = copy.run(mutant.test)
    assert done.returncode == TESTS_FAILED, done.stdout[-3000:] + done.stderr[-1000:]
    assert "1 failed" in done.stdout, done.stdout[-3000:]


@contextmanager
def edited(copy: Copy, mutant: Mutant) -> Iterator[None]:
    """The copy with the mutant's edits in it."""
    paths = {copy.folder / edit.path for edit in mutant.edits}
    before = {path: path.read_text() for path in paths}
    try:
        for edit in mutant.edits:
            path = copy.folder / edit.path
            whole = path.read_text()
            assert whole.count(edit.old) == 1, f"{edit.path} has changed: bring the table along"
            path.write_text(whole.replace(edit.old, edit.new))
        yield
    finally:
        for path, whole in before.items():
            path.write_text(whole)


@contextmanager
def without_guards(copy: Copy, mutant: Mutant) -> Iterator[None]:
    """The mutants' database without what the mutant takes off it."""
    if not mutant.guards:
        yield
        return
    with psycopg.connect(copy.test_database, autocommit=True) as database:
        undo = [_take_off(database, *guard.split(".")) for guard in mutant.guards]
        try:
            yield
        finally:
            for statement in undo:
                database.execute(statement)


_GUARD = """
SELECT 'ALTER TABLE ' || %(table)s || ' DROP CONSTRAINT ' || conname,
    'ALTER TABLE ' || %(table)s || ' ADD CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = %(table)s::regclass AND conname = %(name)s AND contype <> 't'
UNION ALL
SELECT 'ALTER TABLE ' || %(table)s || ' DISABLE TRIGGER ' || tgname,
    'ALTER TABLE ' || %(table)s || ' ENABLE TRIGGER ' || tgname
FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND tgname = %(name)s
UNION ALL
SELECT 'DROP INDEX ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'x')
WHERE i.indexrelid = to_regclass(%(name)s) AND c.oid IS NULL
"""


def _take_off(database: psycopg.Connection[tuple[str, str]], table: str, name: str) -> str:
    """Do without a constraint, trigger or index; returns what puts it on again."""
    found = database.execute(_GUARD, {"table": table, "name": name}).fetchall()
    assert len(found) == 1, f"{table} has no guard {name}: bring the table along"
    ((take_off, put_on),) = found
    database.execute(take_off.encode())
    return put_on
