"""What the proxy tells those who run it, what it takes along when it ends, and its bounds."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from clusters.models import App
from clusters.proxy.process import DRAIN_SECONDS
from clusters.proxy.settings import Settings
from tests.clusters.proxy.desk import Desk, server_in_thread
from tests.clusters.proxy.lab import HANDSHAKE
from tests.clusters.proxy.process import ROOT, TOKEN, Proxy, running, wait_for
from tests.clusters.proxy.rows import Ground


@pytest.fixture
def own(
    database_url: str, ground: Ground, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Desk]:
    """A proxy for one test, which may end it; with settings of its own."""
    settings = getattr(request, "param", {})
    with (
        server_in_thread(tmp_path / "good") as seen,
        running(tmp_path / "log", database_url, settings) as proxy,
    ):
        yield Desk(proxy, ground, tmp_path / "good", seen)


SEVERAL = pytest.mark.parametrize("own", [{"PROXY_PROCESSES": "3"}], indirect=True)


def _get(proxy: Proxy, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{proxy.url}{path}", headers=headers, timeout=30, verify=False)


def test_health_tells_what_is_open_and_how_old_what_is_known_is(desk: Desk) -> None:
    app = desk.app()
    with desk.connect(app, desk.signed_in(app)):
        wait_for(
            lambda: (desk.proxy.health()["sockets"], desk.proxy.health()["requests"]) == (1, 1)
        )
        health = desk.proxy.health()
    assert health["routes"] >= 1
    assert health["sessions"] >= 1
    # It looks again and again.
    for _ in range(2):
        wait_for(lambda: desk.proxy.health()["database_seen_seconds_ago"] >= 1)
        wait_for(lambda: desk.proxy.health()["database_seen_seconds_ago"] < 1)


def test_health_is_read_only(proxy: Proxy) -> None:
    assert httpx.post(f"{proxy.url}/healthz", timeout=30, verify=False).status_code == 405


@pytest.mark.parametrize("said", ["", "Bearer x", f"token {TOKEN}", TOKEN])
def test_who_is_connected_is_told_to_the_portal_alone(proxy: Proxy, said: str) -> None:
    assert _get(proxy, "/connections", Authorization=said).status_code == 401


def test_who_is_connected_is_not_told_on_an_apps_host(desk: Desk) -> None:
    app = desk.app()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/connections", "/healthz"):
        assert desk.ask(app, path, headers=headers).status_code == 401
        secret = desk.signed_in(app)
        # It is the app's own path there.
        assert desk.ask(app, path, headers=headers, secret=secret).status_code == 404


def test_it_needs_no_django() -> None:
    code = "import clusters.proxy.process, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_its_defaults_are_the_portals(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PORT", "PROXY_PORT", "APPS_URL", "SITE_URL", "SITE_NAME", "APP_SESSION_SECONDS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    code = (
        "from portal import settings as s; print(s.PROXY_PORT, s.APPS_URL, s.SITE_URL,"
        " s.SITE_NAME, s.APP_SESSION_SECONDS, sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    ours = Settings.read()
    assert done.stdout.strip().split("|") == [
        str(ours.port), ours.apps_url, ours.site_url, ours.site_name, str(ours.session_seconds),
    ]  # fmt: skip


def test_a_setting_that_makes_no_sense_is_told_in_a_sentence() -> None:
    for name, value in (("PROXY_PORT", "x"), ("APPS_URL", "http://apps.example.org")):
        done = subprocess.run(
            [sys.executable, "-m", "clusters.proxy"],
            cwd=ROOT,
            env={"PATH": "/usr/bin", name: value},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr


# --- Its end ---


def test_a_request_that_runs_may_end_when_it_stops(own: Desk) -> None:
    app = own.app()
    secret = own.signed_in(app)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.ask, app, "/page/slowly", secret=secret)
        wait_for(lambda: own.proxy.health()["requests"] == 1)
        assert own.proxy.stop() == 0
        assert answer.result().status_code == 200
    with pytest.raises(httpx.ConnectError):
        own.proxy.health()


def test_what_has_no_end_is_cut_off_at_once_and_a_request_after_some_seconds(own: Desk) -> None:
    app = own.app()
    secret = own.signed_in(app)

    def ask() -> float:
        """When the request was cut off."""
        with pytest.raises(httpx.RemoteProtocolError):
            own.ask(app, "/hang", secret=secret)
        return time.monotonic()

    with own.connect(app, secret) as socket, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        wait_for(lambda: own.seen.hanging == 1)
        own.proxy.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        closed_at = time.monotonic()
        assert asking.result() - closed_at > DRAIN_SECONDS / 2
    assert own.proxy.process.wait(30) == 0


# --- Several processes ---


def _children(proxy: Proxy) -> list[psutil.Process]:
    return psutil.Process(proxy.process.pid).children()


def _folder(proxy: Proxy) -> Path:
    """Where its processes ask each other."""
    words = _children(proxy)[0].cmdline()
    return Path(words[words.index("--folder") + 1])


def _known_to_all(desk: Desk) -> App:
    """Something that each of the processes serves by now."""
    app = desk.app()
    everybody = len(_children(desk.proxy))
    wait_for(lambda: [app.name in names for names in _told(desk.proxy)] == [True] * everybody)
    return app


def _told(proxy: Proxy) -> list[dict[str, int]]:
    """What each process has open, by name; one that is only coming up, or gone, says nothing."""
    told = []
    for path in _folder(proxy).glob("[!.]*"):
        transport = httpx.HTTPTransport(uds=str(path), verify=False)
        with httpx.Client(transport=transport) as client, suppress(httpx.TransportError):
            told.append(client.get("http://sibling/").json())
    return told


@SEVERAL
def test_several_processes_count_together(own: Desk) -> None:
    app = _known_to_all(own)
    secret = own.signed_in(app)
    assert len(_children(own.proxy)) == 3
    request = (
        f"GET /socket HTTP/1.1\r\nHost: {own.proxy.host(app.name)}\r\n"
        f"Origin: {own.proxy.origin(app.name)}\r\nCookie: fastgpu={secret}\r\n{HANDSHAKE}\r\n"
    ).encode()
    sockets = [socket.create_connection(("127.0.0.1", own.proxy.port)) for _ in range(12)]
    for each in sockets:
        each.sendall(request)
        assert each.recv(12) == b"HTTP/1.1 101"
    for _ in range(6):
        wait_for(lambda: own.proxy.connections().get(app.name) == 12)
    for each in sockets:
        each.close()
    wait_for(lambda: own.proxy.connections().get(app.name) == 0)


@SEVERAL
def test_one_that_dies_is_replaced_and_its_siblings_go_on(own: Desk) -> None:
    app = _known_to_all(own)
    secret = own.signed_in(app)
    victim, *others = _children(own.proxy)
    victim.kill()
    wait_for(lambda: len(_children(own.proxy)) == 3 and victim not in _children(own.proxy))
    assert set(others) <= set(_children(own.proxy))
    wait_for(lambda: own.ask(app, secret=secret).status_code == 200)
    wait_for(lambda: app.name in own.proxy.connections())


@SEVERAL
def test_new_processes_take_over_and_nothing_is_dropped(own: Desk) -> None:
    app = _known_to_all(own)
    secret = own.signed_in(app)
    old = _children(own.proxy)
    failures: list[str] = []
    is_over = threading.Event()
    headers = {"Host": own.proxy.host(app.name), "Cookie": f"fastgpu={secret}"}

    def ask() -> None:
        """Again and again, over connections that are kept."""
        with httpx.Client(headers=headers, verify=False, timeout=30) as client:
            while not is_over.is_set():
                try:
                    status = client.get(f"{own.proxy.url}/echo").status_code
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    # A kept connection was closed while it was asked: the one case every client
                    # of kept connections tries again.
                    status = client.get(f"{own.proxy.url}/echo").status_code
                if status != 200:
                    failures.append(str(status))

    with own.connect(app, secret) as open_socket, ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        own.proxy.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(set(_children(own.proxy)) - set(old)) == 3)
        # Two of the old ones had nothing open for long.
        wait_for(lambda: len(set(_children(own.proxy)) & set(old)) == 1)
        open_socket.send("still open")
        assert open_socket.recv(timeout=30) == "still open"
        is_over.set()
        for each in asking:
            each.result()
    assert failures == []
    wait_for(lambda: not set(_children(own.proxy)) & set(old))


@SEVERAL
def test_a_new_process_answers_nobody_before_it_knows_what_is_running(
    own: Desk, database_url: str
) -> None:
    app = _known_to_all(own)
    secret = own.signed_in(app)
    old = _children(own.proxy)
    with psycopg.connect(database_url, autocommit=True) as seeing:
        before = _backends(seeing)
        with psycopg.connect(database_url) as holding:
            # What is read of the routes waits for this, and who may open them does not.
            holding.execute("LOCK TABLE clusters_notebook IN ACCESS EXCLUSIVE MODE")
            own.proxy.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(_backends(seeing, "wait_event_type = 'Lock'") - before) == 3)
            assert {own.ask(app, secret=secret).status_code for _ in range(60)} == {200}
    wait_for(lambda: not set(_children(own.proxy)) & set(old))
    assert own.ask(app, secret=secret).status_code == 200


@SEVERAL
def test_new_processes_that_do_not_come_up_leave_the_old_ones_in_place(own: Desk) -> None:
    app = _known_to_all(own)
    secret = own.signed_in(app)
    old, folder = _children(own.proxy), _folder(own.proxy)
    away = folder.rename(folder.with_name(f"{folder.name}-away"))
    own.proxy.process.send_signal(signal.SIGHUP)
    # Where they would be asked by the others there is no folder.
    wait_for(lambda: "the old ones go on" in own.proxy.log.read_text(), 30)
    wait_for(lambda: _children(own.proxy) == old)
    assert {own.ask(app, secret=secret).status_code for _ in range(20)} == {200}
    away.rename(folder)
    own.proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: not set(_children(own.proxy)) & set(old), 30)
    assert own.ask(app, secret=secret).status_code == 200


def _backends(connection: psycopg.Connection, where: str = "true") -> set[int]:
    rows = connection.execute(f"SELECT pid FROM pg_stat_activity WHERE {where}".encode())
    return {row[0] for row in rows}


def test_a_connection_of_a_moment_ago_gets_its_answer_from_one_that_ends(own: Desk) -> None:
    place = ("127.0.0.1", own.proxy.port)
    with socket.create_connection(place, timeout=30) as fresh:
        # Connections are taken in their order: where this is answered, that one is open.
        own.proxy.health()
        own.proxy.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not _is_listening(place))
        fresh.sendall(f"GET /healthz HTTP/1.1\r\nHost: {place[0]}\r\n\r\n".encode())
        assert fresh.recv(4096).startswith(b"HTTP/1.1 200")
    assert own.proxy.process.wait(30) == 0


def _is_listening(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


@SEVERAL
def test_all_end_with_their_parent(own: Desk) -> None:
    family = _children(own.proxy)
    folder = _folder(own.proxy)
    own.proxy.stop(signal.SIGKILL)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert not folder.exists()


# --- Its bounds ---


@pytest.fixture
def small(database_url: str, ground: Ground, tmp_path: Path) -> Iterator[Desk]:
    """A proxy that may open few files: 90 connections, 22 at one app."""
    few = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200));"
    with (
        server_in_thread(tmp_path / "good") as seen,
        running(
            tmp_path / "log",
            database_url,
            command=("-c", f"{few} runpy.run_module('clusters.proxy', run_name='__main__')"),
        ) as proxy,
    ):
        yield Desk(proxy, ground, tmp_path / "good", seen)


def test_one_app_cannot_use_up_what_all_share(small: Desk) -> None:
    greedy, other = small.app(), small.app()
    secret, theirs = small.signed_in(greedy), small.signed_in(other)
    with ThreadPoolExecutor(40) as pool:
        hanging = [pool.submit(small.ask, greedy, "/hang", secret=secret) for _ in range(40)]
        wait_for(lambda: sum(each.done() for each in hanging) == 18)
        refused = [each.result() for each in hanging if each.done()]
        assert {each.status_code for each in refused} == {503}
        assert refused[0].json()["error"]["code"] == "too_many"
        assert small.ask(other, secret=theirs).status_code == 200
        small.proxy.stop(signal.SIGKILL)


def test_connections_that_ask_nothing_leave_it_alive(small: Desk) -> None:
    app = small.app()
    idle = [socket.create_connection(("127.0.0.1", small.proxy.port)) for _ in range(300)]
    time.sleep(0.5)
    for each in idle:
        each.close()
    secret = small.signed_in(app)
    wait_for(lambda: small.ask(app, secret=secret).status_code == 200)
