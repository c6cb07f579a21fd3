"""The suite's own PostgreSQL and Valkey, in a temporary folder (a pytest plugin).

Its environment is set when it is imported, before anything reads the settings; the servers start
with the session and end with it. `DATABASE_URL` and `REDIS_URL` from outside are used instead;
`TEST_POSTGRES=debian` takes Debian's PostgreSQL 15 for the embedded one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from portal.stack.postgres import EmbeddedPostgres
from portal.stack.valkey import EmbeddedValkey
from tests.debian_postgres import DebianPostgres

_FOLDER = Path(tempfile.mkdtemp(prefix="fgt-"))
_servers: list[EmbeddedPostgres | DebianPostgres | EmbeddedValkey] = []


def _choose() -> None:
    os.environ["VAR_DIR"] = str(_FOLDER / "var")
    os.environ.setdefault("FASTGPU_AGENT_TOKEN", "agent-token-of-the-tests")
    os.environ.setdefault("FASTGPU_PROXY_TOKEN", "proxy-token-of-the-tests")
    os.environ.setdefault("STRIPE_SECRET_KEY", "sk_test_of_the_tests")
    os.environ.setdefault("STRIPE_WEBHOOK_SECRET", "whsec_of_the_tests")
    os.environ.setdefault("STRIPE_API_BASE", "http://127.0.0.1:1")
    os.environ.setdefault("SECRET_KEY", "of-the-tests-" + "x" * 40)
    if "DATABASE_URL" not in os.environ:
        postgres = _postgres()
        os.environ["DATABASE_URL"] = postgres.url
        _servers.append(postgres)
    if "REDIS_URL" not in os.environ:
        valkey = EmbeddedValkey(_FOLDER / "v")
        os.environ["REDIS_URL"] = valkey.url
        _servers.append(valkey)


def _postgres() -> EmbeddedPostgres | DebianPostgres:
    if os.environ.get("TEST_POSTGRES") == "debian":
        return DebianPostgres(_FOLDER / "pg")
    return EmbeddedPostgres(_FOLDER / "pg", _FOLDER / "s", fsync=False)


_choose()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start what is ours."""
    if session.config.option.collectonly:
        return
    for server in _servers:
        server.start()


def pytest_unconfigure() -> None:
    """Stop it and remove the folder."""
    for server in _servers:
        server.stop()
    shutil.rmtree(_FOLDER, ignore_errors=True)
