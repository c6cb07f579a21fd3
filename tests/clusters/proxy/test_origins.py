"""What browsers may ask for, by where the page that asks came from."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from clusters.models import App
from tests.clusters.proxy.desk import Desk
from tests.clusters.proxy.rows import give_token

OTHERS = ["same-site", "cross-site"]
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.fixture(scope="module")
def app(desk: Desk) -> App:
    """One app of alice's."""
    return desk.app()


@pytest.fixture(scope="module")
def secret(desk: Desk, app: App) -> str:
    """Alice is in."""
    return desk.signed_in(app)


def _sent(site: str, mode: str = "cors", dest: str = "empty") -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


@pytest.mark.parametrize("method", UNSAFE)
def test_the_apps_own_pages_may_change_it(desk: Desk, app: App, secret: str, method: str) -> None:
    for headers in (
        {"Origin": desk.proxy.origin(app.name)},
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": desk.proxy.origin(app.name), "Sec-Fetch-Site": "same-origin"},
    ):
        answer = desk.ask(app, secret=secret, method=method, headers=headers)
        assert answer.status_code == 200, headers


@pytest.mark.parametrize("method", UNSAFE)
def test_nobody_elses_pages_may(desk: Desk, app: App, secret: str, method: str) -> None:
    other = desk.proxy.origin("nb-other")
    for headers in (
        {},
        {"Origin": other},
        {"Origin": "null"},
        {"Origin": f"{desk.proxy.origin(app.name)}.evil.example"},
        {"Origin": other, "Sec-Fetch-Site": "same-site"},
        {"Origin": desk.proxy.origin(app.name), "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        _sent("same-site", "navigate", "document"),
    ):
        answer = desk.ask(app, secret=secret, method=method, headers=headers)
        assert answer.status_code == 403, headers
        assert answer.json()["error"]["code"] == "other_origin"


@pytest.mark.parametrize("site", OTHERS)
def test_a_link_that_a_person_follows_opens(desk: Desk, app: App, secret: str, site: str) -> None:
    headers = _sent(site, "navigate", "document")
    assert desk.ask(app, secret=secret, headers=headers).status_code == 200


@pytest.mark.parametrize("site", OTHERS)
@pytest.mark.parametrize(
    ("mode", "dest"),
    [
        ("cors", "empty"),
        ("no-cors", "empty"),
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("no-cors", "serviceworker"),
        ("navigate", "iframe"),
        ("navigate", "object"),
        ("navigate", ""),
    ],
)
def test_what_pages_of_others_load_is_refused(
    desk: Desk, app: App, secret: str, site: str, mode: str, dest: str
) -> None:
    answer = desk.ask(app, secret=secret, headers=_sent(site, mode, dest))
    assert answer.status_code == 403


@pytest.mark.parametrize("dest", ["image", "script", "style", "iframe", "empty", "worker"])
def test_the_apps_own_pages_load_what_they_need(
    desk: Desk, app: App, secret: str, dest: str
) -> None:
    answer = desk.ask(app, secret=secret, headers=_sent("same-origin", "no-cors", dest))
    assert answer.status_code == 200


def test_a_socket_of_the_apps_own_page_opens(desk: Desk, app: App, secret: str) -> None:
    with desk.connect(app, secret) as socket:
        socket.send("hello")
        assert socket.recv(timeout=30) == "hello"


@pytest.mark.parametrize("origin", ["http://nb-other.apps.localhost", "null", None])
def test_a_socket_of_anothers_page_is_refused(
    desk: Desk, app: App, secret: str, origin: str | None
) -> None:
    with pytest.raises(InvalidStatus) as refused, desk.connect(app, secret, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_programs_with_a_token_need_no_origin(desk: Desk, app: App) -> None:
    headers = {"Authorization": f"token {give_token(app, desk.ground.alice)}"}
    assert desk.ask(app, method="DELETE", headers=headers).status_code == 200
