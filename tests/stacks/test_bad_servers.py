"""Notebooks whose servers are no good, on the machine's own engine behind the real proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stacks import portal
from tests.stacks.developer import Developer, ask_database, until
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.stack, pytest.mark.sandbox, pytest.mark.timeout(300)]
# Longer than the proxy waits for one answer, and than a busy machine takes to start a server.
START_SECONDS = 30
# What an environment has in the place of Python, which is to run JupyterLab.
SERVER = """
import os, socket, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Server(HTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self):
        self.socket.bind(self.server_address)

class Handler(BaseHTTPRequestHandler):
    client_address = ("proxy", 0)
    def log_message(self, *_): pass
    def do_GET(self):
        good = self.headers["Authorization"] == "token " + os.environ["FASTGPU_SERVE_TOKEN"]
        self.send_response({"answers-500": 500}.get(kind, 200 if good else 403))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

kind = sys.argv[1]
door = os.environ["FASTGPU_SERVE_SOCKET"]
if kind == "exits":
    print("no module named jupyterlab", flush=True)
    sys.exit(3)
if kind == "listens-elsewhere":
    HTTPServer(("127.0.0.1", 8888), Handler).serve_forever()
if kind == "never-answers":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen()
    time.sleep(600)
if kind == "prints-its-token":
    print("the token is", os.environ["FASTGPU_SERVE_TOKEN"], flush=True)
Server(door, Handler).serve_forever()
"""
SILENT = {
    "listens-elsewhere": "It does not listen yet.",
    "never-answers": "It does not answer.",
    "answers-500": "It answers 500.",
}
KINDS = (*SILENT, "exits", "prints-its-token")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A FastGPU whose environments hold such servers, and that waits for one for some seconds."""
    folder = tmp_path_factory.mktemp("bad")
    environments = folder / "environments"
    for kind in KINDS:
        _make(environments / kind, kind)
    for built in portal.ENVIRONMENTS.glob("*/bin/python"):
        (environments / built.parents[1].name).symlink_to(built.parents[1])
    own = {"ENVIRONMENTS_DIR": str(environments), "SERVER_START_SECONDS": str(START_SECONDS)}
    with portal.running(folder / "var", own) as stack:
        known = "'{" + ",".join(KINDS) + "}'::varchar[]"
        ask_database(
            stack,
            f"UPDATE clusters_pool SET environments = environments || {known} RETURNING id",  # ours
        )
        yield stack


@pytest.fixture
def owner(bad: Stack) -> Iterator[Developer]:
    """The demo's owner at the API of that stack."""
    with Developer(bad) as developer:
        yield developer


def _make(prefix: Path, kind: str) -> None:
    (prefix / "bin").mkdir(parents=True)
    (prefix / "server.py").write_text(SERVER)
    python = prefix / "bin" / "python"
    python.write_text(
        f"#!/bin/sh\nexec /usr/bin/python3 /opt/environments/{kind}/server.py {kind}\n"
    )
    python.chmod(0o755)


def launch(owner: Developer, kind: str) -> str:
    body = {"name": "bad", "pool": "a100", "gpus": 1, "environment": kind}
    answer = owner.http.post("/notebooks", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def seen(owner: Developer, notebook: str) -> dict[str, Any]:
    found: dict[str, Any] = owner.http.get(f"/notebooks/{notebook}").json()
    return found


def failed(owner: Developer, notebook: str) -> dict[str, Any]:
    until(lambda: seen(owner, notebook)["status"] == "failed", seconds=4 * START_SECONDS)
    return seen(owner, notebook)


def log_of(owner: Developer, notebook: str) -> str:
    return str(owner.http.get(f"/notebooks/{notebook}/logs").json()["text"])


def is_settled(stack: Stack, notebook: str) -> bool:
    """Whether nothing of it is metered or held any more."""
    open_ones = (
        "SELECT (SELECT count(*) FROM billing_usageinterval WHERE resource_public_id = %s"
        " AND ended_at IS NULL) + (SELECT count(*) FROM billing_hold h JOIN clusters_workload w"
        " ON w.id = h.resource_id WHERE w.public_id = %s AND h.released_at IS NULL)"
    )
    return ask_database(stack, open_ones, notebook, notebook) == [(0,)]


@pytest.fixture(scope="module")
def silent(bad: Stack) -> dict[str, str]:
    """One of each kind that never says it is ready, by kind: they are waited for together."""
    with Developer(bad) as developer:
        return {kind: launch(developer, kind) for kind in SILENT}


@pytest.mark.parametrize(("kind", "words"), SILENT.items())
def test_one_that_is_silent_is_given_up_in_time_with_its_reason_and_costs_nothing(
    bad: Stack, owner: Developer, silent: dict[str, str], kind: str, words: str
) -> None:
    notebook = failed(owner, silent[kind])
    assert (notebook["reason"], notebook["detail"]) == ("server_silent", words)
    assert notebook["cost_micros"] == 0
    assert is_settled(bad, notebook["id"])


def test_one_that_exits_says_why_in_its_log_and_is_charged_for_no_longer_than_it_ran(
    bad: Stack, owner: Developer
) -> None:
    notebook = failed(owner, launch(owner, "exits"))
    assert (notebook["reason"], notebook["exit_code"]) == ("user_error", 3)
    assert "exit code 3" in notebook["detail"].lower()
    assert log_of(owner, notebook["id"]) == "no module named jupyterlab\n"
    started, ended = (
        datetime.fromisoformat(notebook[f"{what}_at"]) for what in ("started", "ended")
    )
    assert notebook["billed_seconds"] <= (ended - started).total_seconds()
    assert is_settled(bad, notebook["id"])


def test_a_token_in_the_log_is_of_no_use_to_who_reads_it(bad: Stack, owner: Developer) -> None:
    notebook = launch(owner, "prints-its-token")
    until(lambda: seen(owner, notebook)["is_ready"])
    # The server complains below of who hangs up, too.
    said = re.search(r"the token is (\S{32,})", log_of(owner, notebook))
    assert said is not None
    token = said[1]
    own = owner.http.post(f"/notebooks/{notebook}/access").json()
    assert _asked(own["url"], own["token"]).status_code == 200
    for answer in (_asked(own["url"], token), _asked(f"{own['url']}/?token={token}", token)):
        assert answer.status_code != 200
    # Nor does work of the same team find the socket.
    look = "find / -name '*.sock' -not -path '/proc/*' 2>/dev/null; cat /proc/net/unix"
    neighbour = owner.ended(owner.launch(look, environment="system"))
    assert "lab.sock" not in owner.log(neighbour["id"])
    owner.http.post(f"/notebooks/{notebook}/stop")
    until(lambda: seen(owner, notebook)["status"] == "stopped")


def _asked(address: str, token: str) -> httpx.Response:
    """What who says `token` is answered at a served name, which need not resolve here."""
    url = httpx.URL(address)
    path = url.copy_with(host="127.0.0.1", path="/api")
    headers = {"Authorization": f"token {token}", "Host": url.netloc.decode()}
    return httpx.get(path, headers=headers, timeout=20)
