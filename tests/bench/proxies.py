"""The proxies that are measured: ours, configurable-http-proxy and nginx, each one process wide."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
from psycopg.types.json import Jsonb

from clusters.proxy.sessions import digest_of
from portal.lib.env import env_path
from portal.stack.postgres import EmbeddedPostgres
from tests.bench.traffic import Target
from tests.clusters.proxy.process import ROOT, running, wait_for
from tests.ports import free_port

OURS, CHP, NGINX = "ours", "chp", "nginx"
NAME = "bench"
HOST = f"{NAME}.apps.localhost"
CHP_PACKAGE = "configurable-http-proxy@5"
START_SECONDS = 20.0
_FILES = 65_000
_TABLES = """
CREATE TABLE clusters_app_route (id bigint, name text, service text, state text, endpoint jsonb,
    subject text, stops_at timestamptz, stops_for text, title text);
CREATE TABLE clusters_app_access (digest text, name text, user_id bigint);
"""
_NGINX = """
{user}
worker_processes 1; worker_rlimit_nofile {files}; pid {folder}/pid; daemon off;
error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $host $place {{ default ""; {host} served; }}
  map $http_upgrade $wanted {{ default upgrade; "" ""; }}
  upstream served {{ server 127.0.0.1:{upstream}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://$place; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wanted;
      proxy_buffering off; proxy_request_buffering off;
      proxy_read_timeout 1h; proxy_send_timeout 1h;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that is asked as `target`; `process` and its children are what it holds."""

    target: Target
    process: psutil.Process

    def memory_bytes(self) -> int:
        """What it holds now."""
        return sum(each.memory_info().rss for each in self._family())

    def cpu_seconds(self) -> float:
        """What it has used of processors so far."""
        times = [each.cpu_times() for each in self._family()]
        return sum(each.user + each.system for each in times)

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def all_running(folder: Path) -> Iterator[dict[str, Running]]:
    """Those that can be had here, before one server; their files lie in `folder`."""
    with ExitStack() as held:
        port = held.enter_context(served(folder))
        found = {OURS: held.enter_context(ours(folder, port)).running}
        if nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
            found[NGINX] = held.enter_context(_nginx(nginx, folder / "nginx", port))
        if program := chp_program():
            found[CHP] = held.enter_context(_chp(program, folder, port))
        yield found


@dataclass(frozen=True, slots=True)
class Ours:
    """Our proxy, and the database that says what it serves to whom."""

    running: Running
    database: psycopg.Connection

    def let_in(self) -> Target:
        """Somebody else who may open it."""
        target = self.running.target
        return Target(target.port, target.host, _let_in(self.database))

    def shut_out(self, target: Target) -> None:
        """They may no longer; nobody is told."""
        digest = digest_of(target.cookie.partition("=")[2])
        self.database.execute("DELETE FROM clusters_app_access WHERE digest = %s", [digest])

    def tell(self) -> None:
        """What the trigger of the portal's table of sessions sends."""
        self.database.execute("NOTIFY fastgpu_apps, 'clusters_appsession'")


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of the one server that all of them forward to."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.upstream", str(port)]
    with _process(command, port, folder / "upstream.log"):
        yield port


@contextmanager
def ours(folder: Path, upstream: int) -> Iterator[Ours]:
    """Our proxy before that server."""
    postgres = EmbeddedPostgres(folder / "pg", folder / "s", fsync=False)
    postgres.start()
    try:
        with psycopg.connect(postgres.url, autocommit=True) as database:
            database.execute(_TABLES)
            where = Jsonb({"host": "127.0.0.1", "port": upstream})
            row = (1, NAME, "lab", "ready", where, "nb_bench")
            database.execute("INSERT INTO clusters_app_route VALUES (%s, %s, %s, %s, %s, %s)", row)
            cookie = _let_in(database)
            with running(folder / "ours.log", postgres.url) as proxy:
                wait_for(lambda: proxy.health()["routes"] == 1)
                process = psutil.Process(proxy.process.pid)
                yield Ours(Running(Target(proxy.port, HOST, cookie), process), database)
    finally:
        postgres.stop()


def _let_in(database: psycopg.Connection) -> str:
    """The cookie of somebody new."""
    secret = f"fgc_{secrets.token_urlsafe(32)}"
    row = (digest_of(secret), NAME, 1)
    database.execute("INSERT INTO clusters_app_access VALUES (%s, %s, %s)", row)
    return f"fastgpu={secret}"


@contextmanager
def _nginx(program: str, folder: Path, upstream: int) -> Iterator[Running]:
    port = free_port()
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    text = _NGINX.format(
        user=user, files=_FILES, folder=folder, host=HOST, upstream=upstream, port=port
    )
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with _process(command, port, folder / "log") as process:
        yield Running(Target(port, HOST, "fastgpu=x"), process)


@contextmanager
def _chp(program: Sequence[str], folder: Path, upstream: int) -> Iterator[Running]:
    port = free_port()
    command = [
        *program, "--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1",
        "--api-port", str(port + 1), "--host-routing", "--log-level", "error",
    ]  # fmt: skip
    environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "bench"}
    with _process(command, port + 1, folder / "chp.log", environment) as process:
        httpx.post(
            f"http://127.0.0.1:{port + 1}/api/routes/{HOST}",
            json={"target": f"http://127.0.0.1:{upstream}"},
            headers={"Authorization": "token bench"},
        ).raise_for_status()
        yield Running(Target(port, HOST, "fastgpu=x"), process)


def chp_program() -> list[str] | None:
    """How to run it; fetched with npm the first time. None where there is no Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    folder = env_path("VAR_DIR", ROOT / "var") / "bench" / "chp"
    program = folder / "node_modules" / ".bin" / "configurable-http-proxy"
    if not program.exists():
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", *options, CHP_PACKAGE], check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.stderr.write(f"configurable-http-proxy cannot be had: {done.stderr[-300:]}\n")
            return None
    return [node, str(program)]


@contextmanager
def _process(
    command: Sequence[str], port: int, log: Path, environment: dict[str, str] | None = None
) -> Iterator[psutil.Process]:
    """A process for the length of the block, which listens on `port`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: _listens(port), START_SECONDS, lambda: log.read_text(errors="replace"))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
