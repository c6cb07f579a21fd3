"""Who is let in: tickets, cookies, tokens, and where everybody else is sent."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from accounts.access import actor_of_user, digest_of
from accounts.models import User
from clusters.actions.apps import ENTER, open_url
from clusters.choices import Service
from clusters.models import App, AppSession, AppTicket
from portal.lib import clock
from tests.clusters.proxy.desk import NAVIGATION, Desk
from tests.clusters.proxy.rows import give_token


def _way_in(desk: Desk, app: App, user: User | None = None, *, path: str = "/lab") -> str:
    """The path and query of an address with a ticket."""
    actor = actor_of_user(user or desk.ground.alice)
    parts = urlsplit(open_url(actor, app.name, session_key="", path=path))
    return f"{parts.path}?{parts.query}"


def _cookie(answer: httpx.Response) -> str:
    """The secret in the cookie that an answer sets."""
    found = re.search(r"fastgpu=(fgc_[^;]+);", answer.headers["Set-Cookie"])
    assert found is not None
    return found[1]


def test_a_ticket_lets_in_and_leads_where_it_was_made_for(desk: Desk) -> None:
    app = desk.app()
    taken = desk.open(app, _way_in(desk, app, path="/lab/tree/a%20b.ipynb?x=1"))
    assert taken.status_code == 303
    secret = _cookie(taken)
    on = desk.open(app, taken.headers["Location"], secret=secret)
    assert (on.status_code, on.headers["Location"]) == (303, "/lab/tree/a%20b.ipynb?x=1")
    assert desk.open(app, "/echo", secret=secret).status_code == 200


def test_the_cookie_is_of_its_host_alone_and_no_script_reads_it(desk: Desk) -> None:
    app = desk.app()
    line = desk.open(app, _way_in(desk, app)).headers["Set-Cookie"]
    attributes = {part.strip().partition("=")[0].lower() for part in line.split(";")[1:]}
    assert attributes == {"httponly", "max-age", "path", "samesite"}
    assert "SameSite=Lax" in line
    assert "Path=/;" in line


def test_the_database_has_a_digest_alone(desk: Desk) -> None:
    app = desk.app()
    secret = _cookie(desk.open(app, _way_in(desk, app)))
    session = AppSession.objects.get(name=app.name)
    assert session.digest == digest_of(secret)
    assert session.user == desk.ground.alice
    assert timedelta(hours=11) < session.expires_at - clock.now() < timedelta(hours=13)


def test_of_many_who_bring_one_ticket_one_is_let_in(desk: Desk) -> None:
    app = desk.app()
    way = _way_in(desk, app)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: desk.open(app, way), range(12)))
    let_in = [each for each in answers if "fgc_" in each.headers.get("Set-Cookie", "")]
    assert len(let_in) == 1
    assert AppSession.objects.filter(name=app.name).count() == 1


def _used(desk: Desk, app: App) -> str:
    way = _way_in(desk, app)
    desk.open(app, way)
    return way


def _expired(desk: Desk, app: App) -> str:
    way = _way_in(desk, app)
    AppTicket.objects.filter(name=app.name).update(expires_at=clock.now())
    return way


def _foreign(desk: Desk, _app: App) -> str:
    return _way_in(desk, desk.app())


def _unknown(_desk: Desk, _app: App) -> str:
    return f"{ENTER}?ticket=fgt_nonsense&next=/lab"


@pytest.mark.parametrize("make", [_used, _expired, _foreign, _unknown])
def test_a_ticket_that_is_not_good_is_exchanged_once(desk: Desk, make: object) -> None:
    assert callable(make)
    app = desk.app()
    way = make(desk, app)
    first = desk.open(app, way)
    assert first.status_code == 303
    back = urlsplit(first.headers["Location"])
    assert back.path == f"/open/{app.name}/"
    assert parse_qs(back.query) == {"next": ["/lab"]}
    assert "fgc_" not in first.headers["Set-Cookie"]
    again = desk.open(app, way, headers={"Cookie": first.headers["Set-Cookie"].partition(";")[0]})
    assert again.status_code == 403
    assert "This link is used up" in again.text


def test_a_used_ticket_of_who_is_in_leads_on(desk: Desk) -> None:
    """Going back in a browser's history ends where it began."""
    app = desk.app()
    way = _way_in(desk, app)
    secret = _cookie(desk.open(app, way))
    again = desk.open(app, way, secret=secret)
    assert (again.status_code, again.headers["Location"]) == (303, "/lab")


def test_a_browser_that_keeps_no_cookie_is_told_so(desk: Desk) -> None:
    app = desk.app()
    taken = desk.open(app, _way_in(desk, app))
    answer = desk.open(app, taken.headers["Location"])
    assert answer.status_code == 403
    assert "did not keep the sign-in" in answer.text


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/.fastgpu/enter", "lab", ""],
)
def test_it_leads_to_paths_of_the_app_alone(desk: Desk, path: str) -> None:
    app = desk.app()
    secret = desk.signed_in(app)
    answer = desk.ask(app, str(httpx.URL(ENTER, params={"next": path})), secret=secret)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_a_person_without_a_session_is_sent_to_the_portal(desk: Desk) -> None:
    app = desk.app()
    answer = desk.open(app, "/lab/tree?x=1")
    assert answer.status_code == 303
    way = urlsplit(answer.headers["Location"])
    assert f"{way.scheme}://{way.netloc}" == f"http://localhost:{desk.proxy.port + 1}"
    assert way.path == f"/open/{app.name}/"
    assert parse_qs(way.query) == {"next": ["/lab/tree?x=1"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/json"},
        {"Accept": "text/html", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
)
def test_programs_without_a_session_are_refused(desk: Desk, headers: dict[str, str]) -> None:
    answer = desk.ask(desk.app(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"


def test_what_would_change_anything_is_no_navigation(desk: Desk) -> None:
    assert desk.open(desk.app(), "/echo", method="POST").status_code == 401


def test_a_cookie_that_is_not_good_is_403_to_programs(desk: Desk) -> None:
    answer = desk.ask(desk.app(), secret="fgc_" + "x" * 43)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "not_allowed"


def test_an_expired_session_is_out(desk: Desk) -> None:
    app = desk.app()
    assert desk.ask(app, secret=desk.signed_in(app, hours=-1)).status_code == 403


def test_a_socket_without_a_session_is_refused_before_it_opens(desk: Desk) -> None:
    app = desk.app()
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert desk.ask(app, "/socket", headers=upgrade).status_code == 401
    assert desk.seen.close_codes == []


@pytest.mark.parametrize("scheme", ["token", "Bearer", "bearer"])
def test_programs_bring_a_token_in_a_header(desk: Desk, scheme: str) -> None:
    app = desk.app()
    token = give_token(app, desk.ground.alice)
    answer = desk.ask(app, method="POST", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200
    assert token not in answer.text


@pytest.mark.parametrize(
    ("query", "left"),
    [("?token={}", ""), ("?a=1&token={}&b=%20", "?a=1&b=%20"), ("?token={}&token=x", "?token=x")],
)
def test_programs_bring_a_token_in_the_address(desk: Desk, query: str, left: str) -> None:
    app = desk.app()
    token = give_token(app, desk.ground.alice)
    answer = desk.ask(app, f"/echo{query.format(token)}")
    assert answer.status_code == 200
    assert answer.json()["target"] == f"/echo{left}"


def test_a_token_of_another_app_is_403(desk: Desk) -> None:
    token = give_token(desk.app(), desk.ground.alice)
    app = desk.app()
    headers = {"Authorization": f"token {token}"}
    assert desk.ask(app, headers=headers).status_code == 403
    # Not even beside a cookie that is good: a program shall know that its token is not.
    assert desk.ask(app, headers=headers, secret=desk.signed_in(app)).status_code == 403


def test_the_script_needs_no_session(desk: Desk) -> None:
    answer = desk.ask(desk.app(), "/.fastgpu/overlay.js")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/", "/lab", "/.fastgpu/status", "/.fastgpu/enter?ticket=x"])
def test_what_is_not_served_has_a_page_that_leads_to_the_portal(desk: Desk, path: str) -> None:
    answer = desk.ask("nb-1", path, headers=NAVIGATION)
    assert answer.status_code == 404
    assert "Nothing by this name is running" in answer.text
    assert f"http://localhost:{desk.proxy.port + 1}/open/nb-1/" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_each_service_is_an_app_of_its_own(desk: Desk) -> None:
    terminal = desk.app(service=Service.TERMINAL)
    board = desk.app(service=Service.TENSORBOARD)
    secret = desk.signed_in(terminal)
    assert desk.ask(terminal, "/", secret=secret).status_code == 200
    assert desk.ask(board, secret=secret).status_code == 403
    assert desk.ask(board, secret=desk.signed_in(board, desk.ground.bob)).status_code == 200
