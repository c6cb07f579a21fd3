"""A right that is lost, wherever it was lost, closes what it had opened.

The bench tells how soon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module

import httpx
import pytest
from django.conf import settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from accounts.access import actor_of_user
from accounts.models import Membership, User
from clusters.actions.apps import close_routes, end_sessions
from clusters.actions.notebook_shares import follow_share, revoke_share, share_notebook
from clusters.models import App, AppSession
from portal.lib import clock
from tests.clusters.proxy.desk import Desk
from tests.clusters.proxy.process import wait_for
from tests.clusters.proxy.rows import give_token


def _closes_by_itself(socket: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=20)


def _read_slowly(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        time.sleep(0.01)


def _closes(desk: Desk, app: App, user: User, lose: Callable[[], object]) -> None:
    """A socket of this person is open, `lose` takes their right, and all of theirs closes."""
    secret = desk.signed_in(app, user)
    with desk.connect(app, secret) as socket:
        lose()
        _closes_by_itself(socket)
    assert desk.ask(app, secret=secret).status_code in {403, 404}


def test_a_session_that_was_ended(desk: Desk) -> None:
    app = desk.app()
    assert app.workload is not None
    workload, actor = app.workload, actor_of_user(desk.ground.alice)
    _closes(desk, app, desk.ground.alice, lambda: end_sessions(actor, workload))


def test_a_session_that_ran_out(desk: Desk) -> None:
    app = desk.app()
    rows = AppSession.objects.filter(name=app.name)
    _closes(desk, app, desk.ground.alice, lambda: rows.update(expires_at=clock.now()))


def test_signing_out_at_the_portal(desk: Desk) -> None:
    app = desk.app()
    portal = import_module(settings.SESSION_ENGINE).SessionStore()
    portal.create()
    through_it = desk.signed_in(app, session_key=portal.session_key)
    with desk.connect(app, through_it) as socket, desk.connect(app, desk.signed_in(app)) as other:
        portal.delete()
        _closes_by_itself(socket)
        other.send("still open")
        assert other.recv(timeout=30) == "still open"


def test_a_guest_whose_link_was_revoked(desk: Desk) -> None:
    app, bob = desk.app(), desk.ground.bob
    assert app.workload is not None
    alice = actor_of_user(desk.ground.alice)
    assert desk.ask(app, secret=desk.signed_in(app, bob)).status_code == 403
    share, link = share_notebook(alice, app.workload.public_id)
    follow_share(actor_of_user(bob), link)
    name, public_id = app.workload.public_id, share.public_id
    _closes(desk, app, bob, lambda: revoke_share(alice, name, public_id))


def test_a_person_who_was_deactivated(desk: Desk) -> None:
    app, alice = desk.app(), desk.ground.alice
    people = User.objects.filter(pk=alice.pk)
    try:
        _closes(desk, app, alice, lambda: people.update(is_active=False))
    finally:
        people.update(is_active=True)


def test_a_member_who_was_removed(desk: Desk) -> None:
    bob = desk.ground.bob
    app = desk.app(owner=bob)
    membership = Membership.objects.get(user=bob, team=desk.ground.team)
    try:
        _closes(desk, app, bob, lambda: Membership.objects.filter(pk=membership.pk).delete())
    finally:
        membership.save(force_insert=True)


def test_an_app_that_was_closed(desk: Desk) -> None:
    app = desk.app()
    assert app.attempt is not None
    attempt = app.attempt
    _closes(desk, app, desk.ground.alice, lambda: close_routes(attempt))


def test_a_download_is_torn(desk: Desk) -> None:
    app = desk.app()
    secret = desk.signed_in(app)
    headers = {"Host": desk.proxy.host(app.name), "Cookie": f"fastgpu={secret}"}
    url = f"{desk.proxy.url}/big"
    with httpx.stream("GET", url, headers=headers, timeout=20, verify=False) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        AppSession.objects.filter(name=app.name).update(ended_at=clock.now())
        # Slowly, so that it could not have come to its end meanwhile.
        with pytest.raises(httpx.RemoteProtocolError):
            _read_slowly(pieces)


def test_a_server_that_moved_takes_no_old_socket_along(desk: Desk) -> None:
    app = desk.app()
    secret = desk.signed_in(app)
    with desk.connect(app, secret) as socket:
        app.endpoint = app.endpoint | {"token": "another"}
        app.save(update_fields=["endpoint"])
        _closes_by_itself(socket)
    answer = desk.ask(app, secret=secret)
    assert dict(answer.json()["headers"])["Authorization"] == "token another"


def test_what_others_have_open_stays(desk: Desk) -> None:
    app, neighbour = desk.app(), desk.app()
    assert app.attempt is not None
    attempt = app.attempt
    with desk.connect(neighbour, desk.signed_in(neighbour)) as socket:
        _closes(desk, app, desk.ground.alice, lambda: close_routes(attempt))
        socket.send("still open")
        assert socket.recv(timeout=30) == "still open"


def test_a_token_that_was_ended_lets_in_no_more(desk: Desk) -> None:
    app = desk.app()
    headers = {"Authorization": f"token {give_token(app, desk.ground.alice)}"}
    assert desk.ask(app, headers=headers).status_code == 200
    AppSession.objects.filter(name=app.name).update(ended_at=clock.now())

    def is_refused() -> bool:
        # What was under way at that moment is cut off.
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            return desk.ask(app, headers=headers).status_code == 403
        return False

    wait_for(is_refused)


def test_another_teams_owner_is_never_let_in(desk: Desk) -> None:
    app = desk.app()
    assert desk.ask(app, secret=desk.signed_in(app, desk.ground.charlie)).status_code == 403
