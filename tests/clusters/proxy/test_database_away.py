"""PostgreSQL stops, hangs, restarts: what the proxy knew stays, what it missed it learns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection
from psycopg.types.json import Jsonb
from websockets.exceptions import ConnectionClosed

from clusters.models import App
from portal.stack.postgres import EmbeddedPostgres
from tests.clusters.proxy.desk import NAVIGATION, Desk, server_in_thread
from tests.clusters.proxy.following import following
from tests.clusters.proxy.lab import endpoint_at
from tests.clusters.proxy.process import running, wait_for
from tests.clusters.proxy.rows import Ground, serve, sign_in

# What the proxy asks for; in the server of these tests the views are tables.
VIEWS = ("clusters_app_route", "clusters_app_access")


class Server:
    """A PostgreSQL of its own, holding a copy of what the suite's says to the proxy."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder / "pg", folder / "s", fsync=False)

    def execute(self, statement: str, rows: list[tuple[object, ...]] | None = None) -> None:
        """Run it, for each of `rows`."""
        with psycopg.connect(self.postgres.url, autocommit=True) as mine:
            if rows is None:
                mine.execute(statement.encode())
            else:
                mine.cursor().executemany(statement.encode(), rows)

    def copy(self) -> None:
        """What the suite's database says now."""
        self.execute(
            "CREATE TABLE IF NOT EXISTS clusters_app_route (id bigint, name text, service text,"
            " state text, endpoint jsonb, subject text, stops_at timestamptz, stops_for text,"
            " title text);"
            "CREATE TABLE IF NOT EXISTS clusters_app_access (digest text, name text,"
            " user_id bigint, expires_at timestamptz);"
            "TRUNCATE clusters_app_route, clusters_app_access"
        )
        with connection.cursor() as theirs:
            for view in VIEWS:
                theirs.execute(f"SELECT * FROM {view}")
                rows = [
                    tuple(Jsonb(v) if isinstance(v, dict) else v for v in row)
                    for row in theirs.fetchall()
                ]
                places = ", ".join(["%s"] * (len(theirs.description or ())))
                self.execute(f"INSERT INTO {view} VALUES ({places})", rows)

    def tell(self) -> None:
        """What the tables' triggers send in the portal's database."""
        self.execute("NOTIFY fastgpu_apps, 'clusters_app'")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        pid = self.postgres.main_pid()
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in reversed(family):
                process.resume()


@pytest.fixture
def server() -> Iterator[Server]:
    """It runs; a test may stop and start it."""
    # Paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="fgp-") as folder:
        server = Server(Path(folder))
        server.postgres.start()
        try:
            yield server
        finally:
            server.postgres.stop()


@pytest.fixture
def app(ground: Ground, tmp_path: Path) -> App:
    """Served at a socket in this test's folder."""
    return serve(ground, endpoint_at(tmp_path / "good"))


@pytest.fixture
def away(server: Server, app: App, ground: Ground, tmp_path: Path) -> Iterator[tuple[Desk, str]]:
    """A proxy over that server, and a secret of alice's."""
    secret = sign_in(app, ground.alice)
    server.copy()
    with (
        running(tmp_path / "log", server.postgres.url) as proxy,
        server_in_thread(tmp_path / "good") as seen,
    ):
        desk = Desk(proxy, ground, tmp_path / "good", seen)
        desk.wait_known(app)
        yield desk, secret


def test_what_was_known_stays_while_it_is_stopped(
    away: tuple[Desk, str], server: Server, app: App
) -> None:
    desk, secret = away
    assert desk.ask(app, secret=secret).status_code == 200
    with desk.connect(app, secret) as socket:
        server.postgres.stop()
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            socket.send("hello")
            assert socket.recv(timeout=30) == "hello"
            assert desk.ask(app, secret=secret).status_code == 200
            time.sleep(0.1)
        assert app.name in desk.proxy.connections()


def test_who_is_not_known_waits_and_is_neither_let_in_nor_sent_away(
    away: tuple[Desk, str], server: Server, app: App, ground: Ground
) -> None:
    desk, _ = away
    other = sign_in(app, ground.alice)
    server.copy()
    server.postgres.stop()
    page = desk.ask(app, secret=other, headers=NAVIGATION)
    assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
    assert desk.ask(app, secret=other).json()["error"]["code"] == "unavailable"
    assert desk.ask(app, "/.fastgpu/enter?ticket=x").status_code == 503
    server.postgres.start()
    wait_for(lambda: desk.ask(app, secret=other).status_code == 200)


def test_it_learns_what_it_missed(
    away: tuple[Desk, str], server: Server, app: App, ground: Ground
) -> None:
    desk, secret = away
    other = serve(ground, endpoint_at(desk.socket))
    with desk.connect(app, secret) as socket:
        server.postgres.stop()
        server.postgres.start()
        App.objects.filter(pk=app.pk).update(state="closed", closed_at=app.created_at)
        server.copy()
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
    desk.wait_known(other)


def test_it_is_told_again_after_a_restart(server: Server, app: App, ground: Ground) -> None:
    server.copy()
    with following(server.postgres.url) as known:
        missed = serve(ground, None)
        server.copy()
        server.postgres.stop()
        server.postgres.start()
        wait_for(lambda: known.routes.get(missed.name) is not None)
        other = serve(ground, None)
        server.copy()
        server.tell()
        wait_for(lambda: known.routes.get(other.name) is not None)


def test_one_that_hangs_is_as_good_as_stopped(
    away: tuple[Desk, str], server: Server, app: App
) -> None:
    desk, secret = away
    with desk.connect(app, secret) as socket:
        with server.hanging():
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                socket.send("hello")
                assert socket.recv(timeout=30) == "hello"
                assert desk.ask(app, secret=secret).status_code == 200
                time.sleep(0.1)
        server.execute("TRUNCATE clusters_app_access")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)


def test_it_starts_before_its_database(
    server: Server, app: App, ground: Ground, tmp_path: Path
) -> None:
    secret = sign_in(app, ground.alice)
    server.copy()
    server.postgres.stop()
    with (
        running(tmp_path / "log", server.postgres.url) as proxy,
        server_in_thread(tmp_path / "good") as seen,
    ):
        desk = Desk(proxy, ground, tmp_path / "good", seen)
        page = desk.ask(app, secret=secret, headers=NAVIGATION)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "1")
        assert proxy.health()["database_seen_seconds_ago"] is None
        server.postgres.start()
        wait_for(lambda: desk.ask(app, secret=secret).status_code == 200)
