"""New servers are asked until they answer; what they do instead is told in words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clusters.backends.base import Endpoint
from clusters.choices import Service
from clusters.models import App
from clusters.proxy.probe import pause_after
from tests.clusters.proxy.desk import NAVIGATION, Desk
from tests.clusters.proxy.lab import endpoint_at
from tests.clusters.proxy.portals import FakePortal, fake_portal
from tests.clusters.proxy.process import Proxy, wait_for
from tests.clusters.proxy.rows import serve
from tests.clusters.proxy.servers import TOKEN


@pytest.fixture
def portal(proxy: Proxy) -> Iterator[FakePortal]:
    """It listens where the proxy knows the portal to be."""
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        yield portal


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """A server at a socket that says `answer` to everything; what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)

        def serve_all() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                # Who asks is cut off where it is told of an end.
                with client, suppress(ConnectionError):
                    asked.append(client.recv(65536))
                    client.sendall(answer)

        thread = threading.Thread(target=serve_all)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


def _ok(body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def _starting(desk: Desk, path: Path, service: Service = Service.LAB) -> App:
    app = serve(desk.ground, endpoint_at(path), state="starting", service=service)
    desk.wait_known(app)
    return app


def test_a_server_is_asked_until_it_answers_and_the_portal_is_told(
    desk: Desk, portal: FakePortal, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    app = _starting(desk, path)
    wait_for(lambda: portal.failures(app.pk))
    with answering(path, _ok()) as asked:
        wait_for(lambda: "" in portal.failures(app.pk))
    assert portal.failures(app.pk) == ["does not listen yet", ""]
    assert asked[0].startswith(b"GET /api HTTP/1.1")
    assert f"Authorization: token {TOKEN}".encode() in asked[0]


@pytest.mark.parametrize(
    ("waited_seconds", "starting", "pause_seconds"),
    [(0, 1, 0.025), (2, 1, 0.025), (20, 1, 0.1), (3600, 1, 1.0), (2, 100, 0.2)],
)
def test_the_pauses_between_looks_add_little_to_a_wait_and_bound_how_many_there_are(
    waited_seconds: float, starting: int, pause_seconds: float
) -> None:
    assert pause_after(waited_seconds, starting) == pytest.approx(pause_seconds)


@pytest.mark.parametrize(
    ("service", "path"),
    [(Service.LAB, b"/api"), (Service.TERMINAL, b"/api"), (Service.TENSORBOARD, b"/")],
)
def test_each_service_is_asked_what_it_answers(
    desk: Desk, portal: FakePortal, tmp_path: Path, service: Service, path: bytes
) -> None:
    with answering(tmp_path / "s", _ok()) as asked:
        app = _starting(desk, tmp_path / "s", service)
        wait_for(lambda: portal.failures(app.pk) == [""])
    assert asked[0].split()[1] == path


def test_it_is_forwarded_before_the_portal_has_noted_it(
    desk: Desk, portal: FakePortal, tmp_path: Path
) -> None:
    with answering(tmp_path / "s", _ok(b"hello")):
        app = _starting(desk, tmp_path / "s")
        secret = desk.signed_in(app)
        wait_for(lambda: portal.failures(app.pk) == [""])
        assert desk.ask(app, "/lab", secret=secret).text == "hello"
    app.refresh_from_db()
    assert app.state == "starting"


def test_the_portal_is_told_once_it_is_back(desk: Desk, proxy: Proxy, tmp_path: Path) -> None:
    with answering(tmp_path / "s", _ok(b"hello")):
        app = _starting(desk, tmp_path / "s")
        secret = desk.signed_in(app)
        wait_for(lambda: desk.ask(app, "/lab", secret=secret).status_code == 200)
        with fake_portal(FakePortal(proxy.port + 1, status=503)) as broken:
            wait_for(lambda: broken.failures(app.pk))
        with fake_portal(FakePortal(proxy.port + 1)) as portal:
            wait_for(lambda: portal.failures(app.pk) == [""])
            time.sleep(1.5)
            assert portal.failures(app.pk) == [""]


def test_who_waits_sees_a_page_that_loads_itself_again(
    desk: Desk, portal: FakePortal, tmp_path: Path
) -> None:
    app = _starting(desk, tmp_path / "s")
    secret = desk.signed_in(app)
    page = desk.ask(app, "/lab", secret=secret, headers=NAVIGATION)
    assert page.status_code == 503
    assert 'http-equiv="refresh" content="1"' in page.text
    assert page.headers["Retry-After"] == "1"
    assert desk.ask(app, "/api", secret=secret).json()["error"]["code"] == "starting"


def test_an_app_without_a_place_yet_waits(desk: Desk, portal: FakePortal) -> None:
    app = serve(desk.ground, None, state="starting")
    desk.wait_known(app)
    assert desk.ask(app, secret=desk.signed_in(app)).status_code == 503
    assert portal.failures(app.pk) == []


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answers 500"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "answers 403"),
        (b"HTTP/1.1 302 Away\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"", "closed the connection"),
        (b"\x16\x03\x01 no http\r\n\r\n", "answers what is no HTTP"),
    ],
)
def test_what_it_does_instead_is_told_in_words_and_not_too_often(
    desk: Desk, portal: FakePortal, tmp_path: Path, answer: bytes, words: str
) -> None:
    with answering(tmp_path / "s", answer) as asked:
        app = _starting(desk, tmp_path / "s")
        wait_for(lambda: portal.failures(app.pk))
        wait_for(lambda: len(asked) > 10)
    assert portal.failures(app.pk)[0] == words
    assert len(portal.failures(app.pk)) == 1


def test_a_server_at_the_wrong_port_does_not_listen(desk: Desk, portal: FakePortal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    app = serve(desk.ground, Endpoint(host="127.0.0.1", port=port, token="t"), state="starting")
    wait_for(lambda: portal.failures(app.pk))
    assert portal.failures(app.pk) == ["does not listen yet"]


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x"), lambda path: path.mkdir(), _link]
)
def test_what_is_no_socket_of_its_own_is_not_connected_to(
    desk: Desk, portal: FakePortal, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    with answering(tmp_path / "elsewhere", _ok()) as asked:
        make(tmp_path / "s")
        app = _starting(desk, tmp_path / "s")
        wait_for(lambda: portal.failures(app.pk))
    assert portal.failures(app.pk) == ["does not listen at a socket of its own"]
    assert asked == []


def test_a_socket_that_another_user_made_is_not_connected_to(
    desk: Desk, portal: FakePortal, tmp_path: Path
) -> None:
    with answering(tmp_path / "s", _ok()) as asked:
        endpoint = Endpoint(socket=str(tmp_path / "s"), owner_uid=1, token="t")
        app = serve(desk.ground, endpoint, state="starting")
        wait_for(lambda: portal.failures(app.pk))
    assert portal.failures(app.pk) == ["does not listen at a socket of its own"]
    assert asked == []


def test_one_that_is_closed_is_asked_no_more(
    desk: Desk, portal: FakePortal, tmp_path: Path
) -> None:
    with answering(tmp_path / "s", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") as asked:
        app = _starting(desk, tmp_path / "s")
        wait_for(lambda: asked)
        App.objects.filter(pk=app.pk).update(state="closed", closed_at=app.created_at)
        wait_for(lambda: app.name not in desk.proxy.connections())
        count = len(asked)
        time.sleep(0.5)
        # One may have been under way.
        assert len(asked) <= count + 1
