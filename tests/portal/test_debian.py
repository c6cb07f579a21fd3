"""What the database itself holds, it holds on Debian's PostgreSQL 15 too.

The suite runs on the embedded server, of a newer version. What leans on the server's own guards
(constraints, triggers, locks, migrations) runs once more here; `make test-debian` runs
the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
LEANING = (
    "tests/portal/test_debian.py",
    "tests/portal/test_migrations.py",
    "tests/concurrency",
    "tests/billing/actions/test_ledger.py",
    "tests/billing/actions/test_lots.py",
    "tests/billing/actions/test_holds.py",
    "tests/billing/actions/test_reversals.py",
    "tests/billing/actions/test_price_book.py",
    "tests/billing/actions/test_month_close.py",
    "tests/billing/test_machine.py",
)


@pytest.mark.django_db
def test_server_is_the_one_that_was_asked_for() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::integer / 10000")
        (version,) = cursor.fetchone()
    assert version == 15 or (version > 15 and os.environ.get("TEST_POSTGRES") != "debian")


@pytest.mark.debian
@pytest.mark.timeout(900)
def test_ledger_races_and_migrations_pass_on_postgresql_15() -> None:
    environment = dict(os.environ) | {"TEST_POSTGRES": "debian"}
    for name in ("DATABASE_URL", "REDIS_URL"):
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not debian", *LEANING],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
