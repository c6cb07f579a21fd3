"""What workloads serve: routes, tickets, tokens, and who is let in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection

from accounts.access import actor_of_user, digest_of
from accounts.actor import Actor
from accounts.choices import Role
from accounts.models import Membership, Team, User
from clusters.access import may_open, workloads_of
from clusters.actions.apps import (
    end_sessions,
    forget_old,
    grant_token,
    name_of,
    note_failure,
    note_ready,
    open_route,
    open_url,
    url_of,
)
from clusters.actions.notebook_shares import follow_share, share_notebook
from clusters.backends.base import Endpoint, EndReason
from clusters.choices import AppState, Reason, Service
from clusters.models import (
    App,
    AppSession,
    AppTicket,
    Attempt,
    Notebook,
    NotebookGuest,
    NotebookShare,
    Workload,
)
from portal.lib import clock, ids
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, NotFound
from tests.conftest import Engine, make_person
from tests.fakes.loop import tick
from tests.fakes.notebooks import (
    end,
    fresh,
    launched,
    make_side,
    person,
    running,
    starting,
    stopped,
)


@pytest.fixture
def notebook(actor: Actor, engine: Engine) -> Workload:
    """Alice's, its server answers."""
    return running(actor)


def lab(notebook: Workload) -> str:
    return name_of(Service.LAB, notebook.public_id)


# --- routes ---


def test_a_route_leads_where_the_engine_says(engine: Engine, notebook: Workload) -> None:
    app = App.objects.get(workload=notebook)
    assert (app.name, app.state) == (notebook.public_id.replace("_", "-"), AppState.READY)
    assert (app.endpoint["host"], app.endpoint["port"]) == ("127.0.0.1", 1)


def test_a_route_that_is_known_is_left_and_one_that_moved_is_asked_anew(
    engine: Engine, notebook: Workload
) -> None:
    attempt = Attempt.objects.get(workload=notebook)
    known = App.objects.get(workload=notebook)
    open_route(attempt, Service.LAB, Endpoint(**known.endpoint))
    assert App.objects.get(workload=notebook).state == AppState.READY
    open_route(attempt, Service.LAB, Endpoint(host="127.0.0.1", port=9001))
    app = App.objects.get(workload=notebook)
    assert (app.pk, app.state, app.endpoint["port"]) == (known.pk, AppState.STARTING, 9001)


def test_an_attempt_that_ends_takes_its_route_with_it(
    actor: Actor, engine: Engine, notebook: Workload
) -> None:
    end(engine, notebook, EndReason.NODE_LOST)
    first, second = App.objects.order_by("pk")
    assert (first.state, second.state) == (AppState.CLOSED, AppState.STARTING)


def test_an_engine_that_does_not_know_yet_is_asked_again(actor: Actor, engine: Engine) -> None:
    engine.backend.everywhere = None  # type: ignore[attr-defined]
    starting(actor)
    assert not App.objects.exists()
    engine.backend.everywhere = Endpoint(host="127.0.0.1", port=1)  # type: ignore[attr-defined]
    tick()
    assert App.objects.get().state == AppState.STARTING


def test_a_server_answers_once_and_what_it_answered_before_is_forgotten(
    actor: Actor, engine: Engine
) -> None:
    notebook = starting(actor)
    app = App.objects.get()
    note_failure(app.pk, "It answers 500.")
    assert App.objects.get().failure == "It answers 500."
    for _ in range(2):
        note_ready(app.pk)
    app.refresh_from_db()
    assert (app.state, app.failure) == (AppState.READY, "")
    assert fresh(notebook).events.filter(reason=Reason.RUNNING).count() == 1


def test_an_answer_that_comes_too_late_changes_nothing(actor: Actor, engine: Engine) -> None:
    notebook = stopped(actor, engine)
    app = App.objects.get()
    note_ready(app.pk)
    note_failure(app.pk, "late")
    app.refresh_from_db()
    assert (app.state, app.failure) == (AppState.CLOSED, "")
    assert fresh(notebook).status == "stopped"


# --- tickets ---


def ticket_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["ticket"][0]


def test_a_ticket_names_one_app_one_person_and_one_sign_in(
    actor: Actor, notebook: Workload, settings: Any
) -> None:
    url = open_url(actor, lab(notebook), session_key="s1", path="/lab/tree/a%20b.ipynb?x=1")
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}" == url_of(lab(notebook))
    assert parse_qs(parts.query)["next"] == ["/lab/tree/a%20b.ipynb?x=1"]
    ticket = AppTicket.objects.get(digest=digest_of(ticket_in(url)))
    assert (ticket.name, ticket.user, ticket.session_key) == (lab(notebook), actor.user, "s1")
    assert ticket.used_at is None
    left = ticket.expires_at - clock.now()
    assert timedelta(0) < left <= timedelta(seconds=settings.APP_TICKET_SECONDS)


def test_each_ticket_is_another(actor: Actor, notebook: Workload) -> None:
    first, second = (open_url(actor, lab(notebook), session_key="s") for _ in range(2))
    assert ticket_in(first) != ticket_in(second)


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "evil",
        "/a\r\nSet-Cookie: x=1",
        "/a\tb\0",
        "/" + "x" * 3000,
    ],
)
def test_a_path_cannot_leave_the_app(actor: Actor, notebook: Workload, path: str) -> None:
    with pytest.raises(InvalidInput):
        open_url(actor, lab(notebook), session_key="s", path=path)
    assert not AppTicket.objects.exists()


@pytest.mark.parametrize("name", ["nb-nothing", "", "nb\0", "x" * 500])
def test_there_is_no_ticket_to_what_is_not_served(
    actor: Actor, notebook: Workload, name: str
) -> None:
    with pytest.raises(NotFound):
        open_url(actor, name, session_key="s")


def test_there_is_no_ticket_to_what_rests(actor: Actor, engine: Engine) -> None:
    with pytest.raises(NotFound):
        open_url(actor, lab(stopped(actor, engine)), session_key="s")


def test_there_is_no_ticket_for_strangers_nor_for_members_who_were_not_let_in(
    actor: Actor, member: Actor, notebook: Workload, charlie: User
) -> None:
    with pytest.raises(NotFound):
        open_url(actor_of_user(charlie), lab(notebook), session_key="s")
    with pytest.raises(NotAllowed):
        open_url(member, lab(notebook), session_key="s")
    follow_share(member, share_notebook(actor, notebook.public_id)[1])
    assert open_url(member, lab(notebook), session_key="s")


def test_the_team_opens_what_stands_beside_its_work(
    actor: Actor, member: Actor, notebook: Workload, charlie: User
) -> None:
    make_side(actor, notebook)
    assert open_url(member, "tb-side-1", session_key="s")
    with pytest.raises(NotFound):
        open_url(actor_of_user(charlie), "tb-side-1", session_key="s")


# --- tokens ---


def lets_in(secret: str) -> bool:
    """What the proxy finds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM clusters_app_access WHERE digest = %s", [digest_of(secret)])
        return cursor.fetchone() is not None


def test_a_token_lets_programs_in_until_it_ends(actor: Actor, notebook: Workload) -> None:
    grant = grant_token(actor, notebook)
    assert grant.url == url_of(lab(notebook))
    assert timedelta(days=29) < grant.expires_at - clock.now() <= timedelta(days=30)
    assert lets_in(grant.token)
    assert not AppSession.objects.filter(digest=grant.token).exists()
    AppSession.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert not lets_in(grant.token)


def test_who_signs_out_of_a_notebook_ends_their_tokens_and_nobody_elses(
    actor: Actor, member: Actor, notebook: Workload
) -> None:
    follow_share(member, share_notebook(actor, notebook.public_id)[1])
    mine, theirs = grant_token(actor, notebook), grant_token(member, notebook)
    assert end_sessions(actor, notebook) == 1
    assert (lets_in(mine.token), lets_in(theirs.token)) == (False, True)


def test_there_is_no_token_to_what_does_not_run_or_is_anothers(
    actor: Actor, member: Actor, engine: Engine, notebook: Workload
) -> None:
    with pytest.raises(NotAllowed):
        grant_token(member, notebook)
    with pytest.raises(Conflict):
        grant_token(actor, launched(actor, gpus=4))


def test_a_browsers_session_ends_with_its_sign_in(actor: Actor, notebook: Workload) -> None:
    signed_in = SessionStore()
    signed_in.create()
    AppSession.objects.create(
        digest=digest_of("cookie"),
        name=lab(notebook),
        user=person(actor),
        session_key=signed_in.session_key or "",
        expires_at=clock.now() + timedelta(hours=1),
    )
    assert lets_in("cookie")
    signed_in.delete()
    assert not lets_in("cookie")


def test_what_lets_nobody_in_any_more_is_forgotten(actor: Actor, notebook: Workload) -> None:
    open_url(actor, lab(notebook), session_key="s")
    grant = grant_token(actor, notebook)
    assert forget_old() == 0
    long_ago = clock.now() - timedelta(days=2)
    AppTicket.objects.update(expires_at=long_ago)
    assert forget_old() == 1
    AppSession.objects.update(expires_at=long_ago)
    assert forget_old() == 1
    assert not lets_in(grant.token)


# --- one rule, said twice ---


class People:
    """Somebody for each way to stand to a notebook, with a session at each of its services."""

    def __init__(self, team: Team, elsewhere: Team, pattern: Workload) -> None:
        self.team, self.elsewhere, self.pattern = team, elsewhere, pattern
        self.owner = pattern.created_by
        self.cases: dict[str, tuple[User, Workload, Service]] = {}

    def add(self, *, place: str, is_creator: bool, guest: str, is_active: bool) -> None:
        user = make_person(f"p{len(self.cases)}@example.org")
        User.objects.filter(pk=user.pk).update(is_active=is_active)
        if place != "none":
            team = self.elsewhere if place == "owner elsewhere" else self.team
            role = Role.MEMBER if place == "member" else Role.OWNER
            Membership.objects.create(team=team, user=user, role=role)
        notebook = self.notebook(user if is_creator else self.owner)
        if guest != "never":
            self.let_in(user, notebook, is_revoked=guest == "revoked")
        attempt = Attempt.objects.create(
            workload=notebook,
            pool=notebook.pool,
            number=1,
            external_name=notebook.public_id,
            state="running",
        )
        for service in Service:
            name = name_of(service, notebook.public_id)
            App.objects.create(name=name, service=service, workload=notebook, attempt=attempt)
            secret = f"{user.email} {service}"
            AppSession.objects.create(
                digest=digest_of(secret),
                name=name,
                user=user,
                expires_at=clock.now() + timedelta(hours=1),
            )
            self.cases[secret] = (user, notebook, service)

    def notebook(self, creator: User) -> Workload:
        made = Workload.objects.get(pk=self.pattern.pk)
        made.pk, made.public_id, made.created_by = None, ids.new_id("nb"), creator
        made.save(force_insert=True)
        Notebook.objects.create(workload=made, idle_minutes=0)
        return made

    def let_in(self, user: User, notebook: Workload, *, is_revoked: bool) -> None:
        share = NotebookShare.objects.create(
            notebook=notebook.notebook,
            digest=notebook.public_id,
            created_by=self.owner,
            revoked_at=clock.now() if is_revoked else None,
        )
        NotebookGuest.objects.create(share=share, user=user)


def ways() -> Iterator[dict[str, Any]]:
    """Every way to stand to a notebook."""
    places = ("none", "member", "owner", "owner elsewhere")
    guests = ("never", "let in", "revoked")
    for place, is_creator, guest, is_active in itertools.product(
        places, (False, True), guests, (True, False)
    ):
        yield {
            "place": place, "is_creator": is_creator, "guest": guest, "is_active": is_active,
        }  # fmt: skip


def portal_lets_in(user: User, notebook: Workload, service: Service) -> bool:
    """What a signed-in person would be told by the portal."""
    user.refresh_from_db()
    try:
        actor = actor_of_user(user)
    except NotFound:
        return False
    seen = workloads_of(actor).filter(pk=notebook.pk).exists()
    return user.is_active and seen and may_open(actor, notebook, service)


def test_the_portal_and_the_proxy_let_in_the_same_people(
    team: Team, charlie: User, notebook: Workload
) -> None:
    people = People(team, charlie.teams.get(), notebook)
    for way in ways():
        people.add(**way)
    portal = {secret for secret, case in people.cases.items() if portal_lets_in(*case)}
    proxy = {secret for secret in people.cases if lets_in(secret)}
    assert len(people.cases) == 4 * 2 * 3 * 2 * len(Service)
    assert proxy == portal
    assert 0 < len(portal) < len(people.cases)
