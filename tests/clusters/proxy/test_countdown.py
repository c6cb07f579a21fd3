"""The countdown in notebooks: the script in their pages, the stream it listens to, the choices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from clusters.actions.apps import close_routes
from clusters.choices import Reason, Service
from clusters.models import App, AppSession, Notebook
from portal.lib import clock
from tests.clusters.proxy.desk import NAVIGATION, Desk
from tests.clusters.proxy.portals import FakePortal, fake_portal
from tests.clusters.proxy.process import Proxy, wait_for
from tests.clusters.proxy.servers import PAGE, PAGES

TAG = b'<script src="/.fastgpu/overlay.js" defer></script>'


class Stream:
    """Server-sent events as they come."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event's name and what it says."""
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        raise EOFError


@contextmanager
def _stream(desk: Desk, app: App, secret: str) -> Iterator[Stream]:
    headers = {"Host": desk.proxy.host(app.name), "Cookie": f"fastgpu={secret}"}
    url = f"{desk.proxy.url}/.fastgpu/status"
    with httpx.stream("GET", url, headers=headers, timeout=30, verify=False) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield Stream(answer.iter_lines())


@pytest.fixture
def app(desk: Desk) -> App:
    """A notebook of alice's."""
    return desk.app()


@pytest.fixture
def secret(desk: Desk, app: App) -> str:
    """Alice is in."""
    return desk.signed_in(app)


def _count_down(app: App, *, minutes: float | None = 10) -> datetime | None:
    at = clock.now() + timedelta(minutes=minutes) if minutes is not None else None
    Notebook.objects.filter(workload=app.workload).update(
        stops_at=at, stops_for=Reason.IDLE if at else ""
    )
    return at


def test_the_stream_says_at_once_how_it_stands(desk: Desk, app: App, secret: str) -> None:
    with _stream(desk, app, secret) as stream:
        name, state = stream.next()
    assert (name, state["stops_at"], state["stops_for"]) == ("countdown", None, "")
    assert state["page"] == f"http://localhost:{desk.proxy.port + 1}/open/{app.name}/"
    assert abs(datetime.fromisoformat(state["now"]) - clock.now()) < timedelta(seconds=10)


def test_the_stream_tells_each_change(desk: Desk, app: App, secret: str) -> None:
    with _stream(desk, app, secret) as stream:
        stream.next()
        at = _count_down(app)
        _, state = stream.next()
        assert at is not None
        assert datetime.fromisoformat(state["stops_at"]) == at
        assert (state["stops_for"], state["why"]) == ("idle", "nothing was done in it")
        _count_down(app, minutes=None)
        assert stream.next()[1]["stops_at"] is None


def test_the_stream_tells_that_it_was_stopped_and_why(desk: Desk, app: App, secret: str) -> None:
    _count_down(app)
    assert app.attempt is not None
    with _stream(desk, app, secret) as stream:
        wait_for(lambda: stream.next()[1]["stops_at"] is not None)
        close_routes(app.attempt)
        name, state = stream.next()
        assert (name, state["why"]) == ("stopped", "nothing was done in it")
        with pytest.raises(EOFError):
            stream.next()
    assert desk.ask(app, "/.fastgpu/status", secret=secret).status_code == 404


def test_the_stream_ends_with_the_session(desk: Desk, app: App, secret: str) -> None:
    with _stream(desk, app, secret) as stream:
        stream.next()
        AppSession.objects.filter(name=app.name).update(ended_at=clock.now())
        with pytest.raises((EOFError, httpx.RemoteProtocolError)):
            stream.next()
    assert desk.ask(app, "/.fastgpu/status", secret=secret).status_code == 403


def test_the_stream_is_no_use_of_the_notebook(desk: Desk, app: App, secret: str) -> None:
    seen = list(desk.seen.paths)
    with _stream(desk, app, secret) as stream:
        stream.next()
        assert desk.proxy.connections()[app.name] == 0
        assert desk.seen.paths == seen


def test_the_stream_outlives_the_portal(desk: Desk, app: App, secret: str, proxy: Proxy) -> None:
    with _stream(desk, app, secret) as stream:
        stream.next()
        with fake_portal(FakePortal(proxy.port + 1)):
            pass
        _count_down(app)
        assert stream.next()[1]["stops_at"] is not None


@pytest.mark.parametrize("deed", ["keep", "stop"])
def test_a_choice_is_made_as_the_person_whose_session_it_is(
    desk: Desk, app: App, secret: str, proxy: Proxy, deed: str
) -> None:
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        answer = _choose(desk, app, secret, deed)
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert app.workload is not None
    (told,) = portal.told
    assert told.path == f"/api/v1/proxy/notebooks/{app.workload.public_id}/{deed}"
    assert told.body == {"user": desk.ground.alice.pk}


def test_a_refusal_is_told_in_the_portals_words(
    desk: Desk, app: App, secret: str, proxy: Proxy
) -> None:
    body = {"error": {"code": "conflict", "message": "The notebook is not running.", "fields": {}}}
    with fake_portal(FakePortal(proxy.port + 1, status=409, body=body)):
        answer = _choose(desk, app, secret, "stop")
    assert answer.status_code == 409
    assert answer.json() == {"ok": False, "words": "The notebook is not running."}


def test_a_portal_that_is_away_is_told_in_words(desk: Desk, app: App, secret: str) -> None:
    answer = _choose(desk, app, secret, "keep")
    assert answer.status_code == 503
    assert "does not answer right now" in answer.json()["words"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://nb-other.apps.localhost"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("deed", ["keep", "stop"])
def test_only_its_own_page_may_choose(
    desk: Desk, app: App, secret: str, proxy: Proxy, headers: dict[str, str], deed: str
) -> None:
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        path = f"/.fastgpu/{deed}"
        answer = desk.ask(app, path, secret=secret, method="POST", headers=headers)
    assert answer.status_code == 403
    assert portal.told == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_looking_is_no_choice(desk: Desk, app: App, secret: str, proxy: Proxy, method: str) -> None:
    headers = {"Origin": desk.proxy.origin(app.name)}
    with fake_portal(FakePortal(proxy.port + 1)) as portal:
        answer = desk.ask(app, "/.fastgpu/stop", secret=secret, method=method, headers=headers)
    assert answer.status_code == 404
    assert portal.told == []


def _choose(desk: Desk, app: App, secret: str, deed: str) -> httpx.Response:
    headers = {"Origin": desk.proxy.origin(app.name)}
    return desk.ask(app, f"/.fastgpu/{deed}", secret=secret, method="POST", headers=headers)


# --- The script in pages ---


@pytest.mark.parametrize("name", ["whole", "chunked", "upper", "slowly"])
def test_a_page_gets_the_script_before_its_heads_end(
    desk: Desk, app: App, secret: str, name: str
) -> None:
    page = desk.open(app, f"/page/{name}", secret=secret)
    body = PAGES[name].body
    place = body.lower().index(b"</head")
    assert page.content == body[:place] + TAG + body[place:]
    if "Content-Length" in page.headers:
        assert int(page.headers["Content-Length"]) == len(page.content)


def test_what_said_other_bytes_is_adapted(desk: Desk, app: App, secret: str) -> None:
    page = desk.open(app, "/page/whole", secret=secret)
    assert page.headers["ETag"] == 'W/"one"'
    assert "Accept-Ranges" not in page.headers
    assert page.headers["Content-Security-Policy"] == "script-src 'self'"
    assert page.headers["X-Mine"] == "1"


def test_the_page_is_asked_for_uncompressed(desk: Desk, app: App, secret: str) -> None:
    answer = desk.open(app, "/echo", secret=secret, headers={"Accept-Encoding": "gzip, br"})
    assert dict(answer.json()["headers"])["Accept-Encoding"] == "identity"
    other = desk.ask(app, secret=secret, headers={"Accept-Encoding": "gzip, br"})
    assert dict(other.json()["headers"])["Accept-Encoding"] == "gzip, br"


@pytest.mark.parametrize("name", ["compressed", "plain", "error", "headless", "late", "never"])
def test_other_answers_stay_as_they_are(desk: Desk, app: App, secret: str, name: str) -> None:
    page = desk.open(app, f"/page/{name}", secret=secret, headers={"Accept-Encoding": "identity"})
    # The client of this test unpacks.
    assert page.content == (PAGE if name == "compressed" else PAGES[name].body)
    assert page.headers.get("ETag") == '"one"'


def test_what_is_no_navigation_stays_as_it_is(desk: Desk, app: App, secret: str) -> None:
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Accept": "text/html"},
        {"Accept": "*/*"},
        NAVIGATION | {"Range": "bytes=0-9"},
    ):
        page = desk.ask(app, "/page/whole", secret=secret, headers=headers)
        assert TAG not in page.content, headers


def test_a_question_whether_it_changed_crosses(desk: Desk, app: App, secret: str) -> None:
    page = desk.open(app, "/page/whole", secret=secret)
    again = desk.open(
        app, "/page/whole", secret=secret, headers={"If-None-Match": page.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_only_notebooks_have_a_countdown(desk: Desk) -> None:
    app = desk.app(service=Service.TENSORBOARD)
    page = desk.open(app, "/page/whole", secret=desk.signed_in(app))
    assert page.content == PAGE
