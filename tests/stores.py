"""The suite's own PostgreSQL and Valkey, in a temporary folder (a pytest plugin).

Its environment is set when it is imported, before anything reads the settings; the servers start
with the session and end with it. Where the tests are shared out among processes, each has its
own. `DATABASE_URL` and `REDIS_URL` from outside are used instead;
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
_servers: list[tuple[EmbeddedPostgres | DebianPostgres | EmbeddedValkey, str]] = []
"""Each with the variable that says where it is."""


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
        _servers.append((postgres, "DATABASE_URL"))
    if "REDIS_URL" not in os.environ:
        valkey = EmbeddedValkey(_FOLDER / "v")
        os.environ["REDIS_URL"] = valkey.url
        _servers.append((valkey, "REDIS_URL"))


def _postgres() -> EmbeddedPostgres | DebianPostgres:
    if os.environ.get("TEST_POSTGRES") == "debian":
        return DebianPostgres(_FOLDER / "pg")
    return EmbeddedPostgres(_FOLDER / "pg", _FOLDER / "s", fsync=False)


_choose()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start what is ours."""
    if session.config.option.collectonly:
        return
    if is_sharing_out(session.config):
        # Nothing runs in this process, and those it starts choose for themselves.
        for _, name in _servers:
            del os.environ[name]
        _servers.clear()
    for server, _ in _servers:
        server.start()


def is_sharing_out(config: pytest.Config) -> bool:
    """Whether this process only hands tests to others."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def pytest_unconfigure() -> None:
    """Stop it and remove the folder."""
    for server, _ in _servers:
        server.stop()
    shutil.rmtree(_FOLDER, ignore_errors=True)
