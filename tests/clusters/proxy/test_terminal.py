"""A terminal's origin: a page of the proxy's own, one socket of the workload's, nothing else."""

from __future__ import annotations

import re

import pytest
from websockets.exceptions import InvalidStatus

from clusters.choices import Service
from clusters.models import App
from clusters.proxy import routes, terminal
from tests.clusters.proxy.desk import NAVIGATION, Desk
from tests.clusters.proxy.portals import FakePortal, fake_portal
from tests.clusters.proxy.process import Proxy

SOCKET = "/terminals/websocket/1"


@pytest.fixture
def app(desk: Desk) -> App:
    """A terminal of alice's."""
    return desk.app(service=Service.TERMINAL)


@pytest.fixture
def secret(desk: Desk, app: App) -> str:
    """Alice is in."""
    return desk.signed_in(app)


def test_the_name_of_a_run_is_text_whatever_it_is() -> None:
    route = routes.App(1, "term-1", "terminal", "ready", None, "job_1", title="</title><b>&amp;")
    text = terminal.page(route).text or ""
    assert "<title>&lt;/title&gt;&lt;b&gt;&amp;amp; · Terminal</title>" in text
    assert "</title><b>" not in text


def test_the_page_is_the_proxys_own(desk: Desk, app: App, secret: str) -> None:
    page = desk.open(app, "/", secret=secret)
    assert page.status_code == 200
    assert app.workload is not None
    assert f"<title>{app.workload.name} · Terminal</title>" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert desk.seen.paths == []


def test_all_it_is_made_of_comes_from_the_proxy(desk: Desk, app: App, secret: str) -> None:
    page = desk.open(app, "/", secret=secret).text
    names = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(names) == 4
    for name in [*names, "/.fastgpu/terminal/xterm.js"]:
        answer = desk.ask(app, name)
        assert answer.status_code == 200, name
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    script = desk.ask(app, "/.fastgpu/terminal/xterm.js").text
    assert re.search(r"export\s*\{.*Terminal", script)


def test_other_services_have_none_of_it(desk: Desk) -> None:
    lab = desk.app()
    secret = desk.signed_in(lab)
    assert desk.ask(lab, "/.fastgpu/terminal/xterm.js", secret=secret).status_code == 404


@pytest.mark.parametrize("path", ["/page/whole", "/echo", "/cookies", "/index.html", "/?a", SOCKET])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_nothing_but_its_socket_is_forwarded(
    desk: Desk, app: App, secret: str, path: str, method: str
) -> None:
    headers = {"Origin": desk.proxy.origin(app.name)}
    answer = desk.ask(app, path, secret=secret, method=method, headers=headers)
    assert answer.status_code == (200 if (path, method) == ("/?a", "GET") else 404)
    assert "Set-Cookie" not in answer.headers
    assert desk.seen.paths == []


def test_its_socket_is(desk: Desk, app: App, secret: str) -> None:
    with desk.connect(app, secret, SOCKET) as socket:
        socket.send("hello")
        assert socket.recv(timeout=30) == "hello"
        assert desk.proxy.connections()[app.name] == 1
    for path in ("/socket", f"{SOCKET}?x"):
        with pytest.raises(InvalidStatus) as refused, desk.connect(app, secret, path):
            pass
        assert refused.value.response.status_code == 404


def test_the_page_is_there_before_the_server_answers(desk: Desk) -> None:
    app = desk.app(service=Service.TERMINAL, state="starting")
    assert desk.open(app, "/", secret=desk.signed_in(app)).status_code == 200


def test_who_is_not_signed_in_is_sent_for_a_ticket(desk: Desk, app: App) -> None:
    answer = desk.ask(app, "/", headers=NAVIGATION)
    assert answer.status_code == 303
    assert f"/open/{app.name}/" in answer.headers["Location"]


def test_its_page_has_the_server_started_again(
    desk: Desk, app: App, secret: str, proxy: Proxy
) -> None:
    headers = {"Origin": desk.proxy.origin(app.name)}
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        answer = desk.ask(app, "/.fastgpu/wake", secret=secret, method="POST", headers=headers)
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    assert app.workload is not None
    (told,) = portal.told
    assert told.path == f"/api/v1/proxy/terminals/{app.workload.public_id}/wake"
    assert told.body == {"user": desk.ground.alice.pk}


def test_a_page_of_another_origin_has_not(desk: Desk, app: App, secret: str, proxy: Proxy) -> None:
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        for headers in ({}, {"Origin": "http://nb-other.apps.localhost"}):
            answer = desk.ask(app, "/.fastgpu/wake", secret=secret, method="POST", headers=headers)
            assert answer.status_code == 403
    assert portal.told == []
