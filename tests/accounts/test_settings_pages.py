"""Settings, API keys and the team's page."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.access import actor_of_user, digest_of
from accounts.actions.teams import create_api_key, create_team
from accounts.actor import Actor
from accounts.models import ApiKey, AuditEvent, Membership, Team, User

Browser = Callable[[User], Client]


@pytest.fixture
def browser(client_of: Browser, alice: User, team: Team) -> Client:
    """Alice's browser."""
    return client_of(alice)


def make_key(browser: Client, name: str = "laptop") -> str:
    """Make a key through the page; the secret it showed."""
    page = browser.post("/settings/api-keys/", {"name": name}).content.decode()
    found = re.search(r"<code>(fgpu_[\w-]+)</code>", page)
    assert found
    return found[1]


def test_a_name_is_saved(browser: Client, alice: User) -> None:
    assert browser.post("/settings/", {"name": "  Alice A.  "}).status_code == 302
    alice.refresh_from_db()
    assert alice.name == "Alice A."


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "nul\0byte"])
def test_a_bad_name_is_refused_and_kept_in_the_form(
    browser: Client, alice: User, name: str
) -> None:
    response = browser.post("/settings/", {"name": name})
    assert response.status_code == 400
    assert "field-error" in response.content.decode()
    alice.refresh_from_db()
    assert alice.name == ""


def test_settings_lead_to_mail_and_password(browser: Client) -> None:
    page = browser.get("/settings/").content.decode()
    assert 'href="/account/email/"' in page
    assert 'href="/account/password/change/"' in page


def test_a_new_key_works(browser: Client) -> None:
    secret = make_key(browser)
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert api.get("/api/v1/jobs").status_code == 200


def test_a_key_is_shown_once_and_never_kept(browser: Client) -> None:
    secret = make_key(browser)
    assert secret not in browser.get("/settings/api-keys/").content.decode()
    assert ApiKey.objects.get().digest == digest_of(secret)


def test_the_page_with_a_secret_is_not_cached(browser: Client) -> None:
    response = browser.post("/settings/api-keys/", {"name": "laptop"})
    assert response.headers["Cache-Control"] == "no-store"


def test_a_new_key_comes_with_a_command_to_try(browser: Client) -> None:
    page = html.unescape(browser.post("/settings/api-keys/", {"name": "laptop"}).content.decode())
    assert re.search(r'curl -H "Authorization: Bearer fgpu_[\w-]+" http\S+/api/v1/pools', page)


def test_a_revoked_key_is_refused(browser: Client) -> None:
    secret = make_key(browser)
    key = ApiKey.objects.get()
    browser.post(f"/settings/api-keys/{key.public_id}/revoke/")
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert api.get("/api/v1/jobs").status_code == 401
    assert "Revoked" in browser.get("/settings/api-keys/").content.decode()


def test_the_key_of_a_closed_login_is_refused(actor: Actor) -> None:
    key, secret = create_api_key(actor, name="laptop")
    User.objects.filter(pk=key.user_id).update(is_active=False)
    answer = APIClient().get("/api/v1/jobs", HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert answer.status_code == 401


def test_a_key_ends_with_the_membership_of_its_person(actor: Actor) -> None:
    key, secret = create_api_key(actor, name="laptop")
    Membership.objects.filter(user=key.user_id).delete()
    answer = APIClient().get("/api/v1/jobs", HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert answer.status_code == 401


def test_a_key_is_not_revoked_by_a_link(browser: Client, actor: Actor) -> None:
    key, _ = create_api_key(actor, name="laptop")
    assert browser.get(f"/settings/api-keys/{key.public_id}/revoke/").status_code == 405


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_nobody_else_sees_or_revokes_a_key(
    request: pytest.FixtureRequest, client_of: Browser, actor: Actor, who: str
) -> None:
    key, _ = create_api_key(actor, name="secret project")
    client = client_of(request.getfixturevalue(who))
    assert "secret project" not in client.get("/settings/api-keys/").content.decode()
    assert client.post(f"/settings/api-keys/{key.public_id}/revoke/").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "nul\0byte"])
def test_a_key_needs_a_name(browser: Client, name: str) -> None:
    assert browser.post("/settings/api-keys/", {"name": name}).status_code == 400
    assert not ApiKey.objects.exists()


def test_markup_in_a_key_name_stays_text(browser: Client) -> None:
    make_key(browser, "<img src=x>")
    assert "<img src=x>" not in browser.get("/settings/api-keys/").content.decode()


def test_the_team_page_lists_people_and_roles(browser: Client, bob: User) -> None:
    page = browser.get("/team/").content.decode()
    assert "bob@example.org" in page
    assert '<td data-label="Role">Owner</td>' in page
    assert '<td data-label="Role">Member</td>' in page


def test_an_owner_renames_the_team(browser: Client, team: Team) -> None:
    assert browser.post("/team/", {"name": "Vision group"}).status_code == 302
    team.refresh_from_db()
    assert team.name == "Vision group"
    assert AuditEvent.objects.get(verb="team.renamed").detail == {"before": "Alice's team"}


def test_a_member_does_not(client_of: Browser, bob: User, team: Team) -> None:
    client = client_of(bob)
    assert 'name="name"' not in client.get("/team/").content.decode()
    assert client.post("/team/", {"name": "Mine now"}).status_code == 403
    team.refresh_from_db()
    assert team.name == "Alice's team"


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb", "nul\0byte"])
def test_a_bad_team_name_is_refused(browser: Client, team: Team, name: str) -> None:
    assert browser.post("/team/", {"name": name}).status_code == 400
    team.refresh_from_db()
    assert team.name == "Alice's team"


def test_switching_shows_the_other_team(browser: Client, alice: User) -> None:
    other = create_team(owner=alice, name="Second team")
    response = browser.post("/team/switch/", {"team": other.public_id})
    assert response.status_code == 302
    assert "<h1>Second team</h1>" in browser.get("/team/").content.decode()


@pytest.mark.parametrize("given", ["foreign", "", "nothing", "\0"])
def test_switching_to_another_team_than_ones_own_is_refused(
    browser: Client, charlie: User, given: str
) -> None:
    foreign = actor_of_user(charlie).team
    assert foreign is not None
    wanted = foreign.public_id if given == "foreign" else given
    assert browser.post("/team/switch/", {"team": wanted}).status_code == 404
    assert "team" not in browser.cookies


@pytest.mark.parametrize("path", ["/settings/", "/settings/api-keys/", "/team/"])
def test_strangers_are_sent_to_sign_in(client: Client, db: None, path: str) -> None:
    assert client.get(path).headers["Location"] == f"/account/login/?next={path}"
