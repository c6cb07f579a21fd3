"""The ways from the portal into what workloads serve."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.access import actor_of_user, digest_of
from accounts.actor import Actor
from accounts.choices import Role
from accounts.models import Membership, Team, User
from clusters.actions.apps import name_of, url_of
from clusters.actions.notebook_shares import follow_share, revoke_share, share_notebook
from clusters.actions.notebooks import remove_notebook
from clusters.choices import Service
from clusters.models import AppTicket, NotebookGuest, Workload
from tests.conftest import PASSWORD, Engine
from tests.fakes.notebooks import make_side, running, starting, stopped

SignIn = Callable[[User], Client]


@pytest.fixture
def notebook(actor: Actor, engine: Engine) -> Workload:
    """Alice's, its server answers."""
    return running(actor)


def lab(notebook: Workload) -> str:
    return name_of(Service.LAB, notebook.public_id)


def test_its_person_is_given_a_ticket_bound_to_this_sign_in(
    alice: User, notebook: Workload, client_of: SignIn
) -> None:
    browser = client_of(alice)
    response = browser.get(f"/open/{lab(notebook)}/", {"next": "/lab/tree/a.ipynb"})
    target = urlsplit(response["Location"])
    asked = parse_qs(target.query)
    assert (response.status_code, response["Cache-Control"]) == (303, "no-store")
    assert f"{target.scheme}://{target.netloc}" == url_of(lab(notebook))
    assert (target.path, asked["next"]) == ("/.fastgpu/enter", ["/lab/tree/a.ipynb"])
    ticket = AppTicket.objects.get(digest=digest_of(asked["ticket"][0]))
    assert ticket.session_key == browser.session.session_key


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/a\\b", "a"])
def test_a_path_that_leads_elsewhere_is_refused(
    alice: User, notebook: Workload, client_of: SignIn, path: str
) -> None:
    response = client_of(alice).get(f"/open/{lab(notebook)}/", {"next": path})
    assert response.status_code == 400
    assert not AppTicket.objects.exists()


def test_who_was_not_let_in_is_told_whom_to_ask(
    bob: User, notebook: Workload, client_of: SignIn
) -> None:
    response = client_of(bob).get(f"/open/{lab(notebook)}/")
    page = response.content.decode()
    assert (response.status_code, response["Cache-Control"]) == (403, "no-store")
    assert "Ask alice@example.org for a link" in page
    assert f'href="/notebooks/{notebook.public_id}/"' in page
    assert not AppTicket.objects.exists()


def test_whom_a_link_has_let_in_opens_it_until_the_link_is_revoked(
    actor: Actor, bob: User, notebook: Workload, client_of: SignIn
) -> None:
    share, secret = share_notebook(actor, notebook.public_id)
    follow_share(actor_of_user(bob), secret)
    browser = client_of(bob)
    assert browser.get(f"/open/{lab(notebook)}/").status_code == 303
    revoke_share(actor, notebook.public_id, share.public_id)
    assert browser.get(f"/open/{lab(notebook)}/").status_code == 403


def test_strangers_find_nothing(charlie: User, notebook: Workload, client_of: SignIn) -> None:
    assert client_of(charlie).get(f"/open/{lab(notebook)}/").status_code == 404


@pytest.mark.parametrize("name", ["nb-nothing", "x", "-", "nb-%00", "term-nb-1", "a" * 300])
def test_a_name_of_nothing_is_404(
    alice: User, notebook: Workload, client_of: SignIn, name: str
) -> None:
    assert client_of(alice).get(f"/open/{name}/").status_code == 404


def test_what_is_not_ready_leads_to_its_page_which_opens_it_then(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    for notebook in (starting(actor), stopped(actor, engine, name="rests")):
        response = client_of(alice).get(f"/open/{lab(notebook)}/", {"next": "/lab/tree/x"})
        page = f"/notebooks/{notebook.public_id}/?open=1&next=%2Flab%2Ftree%2Fx"
        assert (response.status_code, response["Location"]) == (303, page)
    assert not AppTicket.objects.exists()


def test_what_is_removed_is_nothing(
    alice: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    notebook = stopped(actor, engine)
    remove_notebook(actor, notebook.public_id)
    assert client_of(alice).get(f"/open/{lab(notebook)}/").status_code == 404


def test_it_opens_whichever_team_the_person_looks_at(
    team: Team, charlie: User, actor: Actor, notebook: Workload, client_of: SignIn
) -> None:
    Membership.objects.create(team=team, user=charlie, role=Role.OWNER)
    browser = client_of(charlie)
    assert browser.get(f"/notebooks/{notebook.public_id}/").status_code == 404
    assert browser.get(f"/open/{lab(notebook)}/").status_code == 303


def test_a_page_it_leads_to_is_of_the_notebooks_team(
    team: Team, charlie: User, actor: Actor, engine: Engine, client_of: SignIn
) -> None:
    Membership.objects.create(team=team, user=charlie, role=Role.OWNER)
    rests = stopped(actor, engine)
    response = client_of(charlie).get(f"/open/{lab(rests)}/", follow=True)
    assert response.status_code == 200
    assert rests.name in response.content.decode()


def test_what_stands_beside_the_teams_work_opens(
    bob: User, charlie: User, actor: Actor, notebook: Workload, client_of: SignIn
) -> None:
    make_side(actor, notebook)
    assert client_of(bob).get("/open/tb-side-1/").status_code == 303
    assert client_of(charlie).get("/open/tb-side-1/").status_code == 404


def test_a_post_opens_nothing(alice: User, notebook: Workload, client_of: SignIn) -> None:
    assert client_of(alice).post(f"/open/{lab(notebook)}/").status_code == 405


# --- by way of the sign-in form ---


def test_who_is_not_signed_in_comes_back_after_it_and_goes_on_by_a_page(
    alice: User, notebook: Workload
) -> None:
    browser, path = Client(), f"/open/{lab(notebook)}/"
    asked = browser.get(path, {"next": "/lab/tree/a b"})
    assert (asked.status_code, asked["Cache-Control"]) == (302, "no-store")
    form = {"login": alice.email, "password": PASSWORD}
    arrived = browser.post(asked["Location"], form, follow=True)
    assert arrived.redirect_chain[-1][0].startswith(path)
    assert arrived.status_code == 200  # the form's page forbids that its answer leads elsewhere
    again = f"{path}?next=%2Flab%2Ftree%2Fa+b"
    assert f'<meta http-equiv="refresh" content="0;url={again}">' in arrived.content.decode()
    assert browser.get(again).status_code == 400  # a blank is in no address
    assert browser.get(path, {"next": "/lab/tree/a%20b"}).status_code == 303


def test_the_page_between_writes_what_it_was_given_as_text(
    alice: User, notebook: Workload, client_of: SignIn
) -> None:
    query = {"next": '"><script>x</script>', "signed-in": "1"}
    page = client_of(alice).get(f"/open/{lab(notebook)}/", query).content.decode()
    assert "<script>x" not in page


# --- links ---


def test_a_link_lets_in_and_leads_to_the_page(
    actor: Actor, bob: User, notebook: Workload, client_of: SignIn
) -> None:
    _, secret = share_notebook(actor, notebook.public_id)
    response = client_of(bob).get(f"/shared/{secret}/")
    assert (response.status_code, response["Cache-Control"]) == (303, "no-store")
    assert response["Location"] == f"/notebooks/{notebook.public_id}/"
    assert NotebookGuest.objects.get().user == bob


def test_a_link_is_followed_in_whichever_team_it_is_of(
    team: Team, actor: Actor, charlie: User, notebook: Workload, client_of: SignIn
) -> None:
    Membership.objects.create(team=team, user=charlie, role=Role.MEMBER)
    _, secret = share_notebook(actor, notebook.public_id)
    response = client_of(charlie).get(f"/shared/{secret}/", follow=True)
    assert response.status_code == 200
    assert "You may open explore now." in response.content.decode()


def test_a_link_that_is_not_good_is_404_for_everybody(
    actor: Actor, bob: User, charlie: User, notebook: Workload, client_of: SignIn
) -> None:
    share, secret = share_notebook(actor, notebook.public_id)
    assert client_of(charlie).get(f"/shared/{secret}/").status_code == 404
    revoke_share(actor, notebook.public_id, share.public_id)
    response = client_of(bob).get(f"/shared/{secret}/")
    assert response.status_code == 404
    assert "Ask for a new one." in response.content.decode()
    assert not NotebookGuest.objects.exists()
