"""From the sign-up form to a verified person with a team, through the pages a person sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.choices import Role
from accounts.models import Membership, User
from tests.conftest import PASSWORD, make_person

pytestmark = pytest.mark.django_db

ADDRESS = "ann@example.org"


@pytest.fixture(autouse=True)
def mailbox(settings: Any, tmp_path: Path, prices: object) -> None:
    """The demo's way of sending mail."""
    settings.EMAIL_FILE_PATH = tmp_path
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"


def sign_up(client: Client, email: str = ADDRESS) -> Any:
    """Send the sign-up form."""
    return client.post("/account/signup/", {"email": email, "password1": PASSWORD})


def newest_mail(client: Client, to: str = ADDRESS) -> str:
    """The newest message to `to`, as the mailbox page shows it."""
    listed = client.get("/mailbox/", {"to": to}).content.decode()
    found = re.search(r'href="(/mailbox/[0-9a-f]{20}/)"', listed)
    assert found
    return client.get(found[1]).content.decode()


def link_in(page: str, part: str) -> str:
    """The path of the first link in a message that holds `part`."""
    found = re.search(rf'href="(http[^"]*{part}[^"]*)"', page)
    assert found
    return urlsplit(found[1]).path


def test_signing_up_makes_a_person_with_a_team(client: Client) -> None:
    sign_up(client)
    membership = Membership.objects.select_related("team").get(user__email=ADDRESS)
    assert (membership.role, membership.team.name) == (Role.OWNER, "ann's team")


def test_nobody_gets_in_before_the_address_is_verified(client: Client) -> None:
    sign_up(client)
    assert client.get("/dashboard/").status_code == 302
    client.post("/account/login/", {"login": ADDRESS, "password": PASSWORD})
    assert client.get("/dashboard/").status_code == 302


def test_the_page_after_sign_up_leads_to_the_mailbox(client: Client) -> None:
    response = client.get(sign_up(client).headers["Location"])
    assert 'href="/mailbox/"' in response.content.decode()


def test_the_link_in_the_mail_verifies_and_signs_in(client: Client) -> None:
    sign_up(client)
    path = link_in(newest_mail(client), "confirm-email")
    assert client.get(path).status_code == 200  # opening the link alone changes nothing
    assert not EmailAddress.objects.get(email=ADDRESS).verified
    response = client.post(path)
    assert response.headers["Location"] == "/dashboard/"
    assert EmailAddress.objects.get(email=ADDRESS).verified
    assert client.get("/dashboard/").status_code == 200


def test_the_mail_has_one_link_and_says_why(client: Client) -> None:
    sign_up(client)
    page = newest_mail(client)
    assert "Verify your e-mail address" in page
    assert page.count('href="http') == 1


def test_a_taken_address_answers_the_same(client: Client) -> None:
    make_person("taken@example.org")
    fresh, taken = sign_up(client), sign_up(Client(), "taken@example.org")
    assert (taken.status_code, taken.headers["Location"]) == (
        fresh.status_code,
        fresh.headers["Location"],
    )
    assert User.objects.filter(email="taken@example.org").count() == 1


def test_a_taken_address_is_told_by_mail_only(client: Client) -> None:
    make_person("taken@example.org")
    sign_up(client, "taken@example.org")
    assert "You already have an account" in newest_mail(client, "taken@example.org")


def test_a_weak_password_is_refused_at_its_field(client: Client) -> None:
    response = client.post("/account/signup/", {"email": ADDRESS, "password1": "12345"})
    assert "field-error" in response.content.decode()
    assert not User.objects.filter(email=ADDRESS).exists()


def test_a_wrong_password_does_not_say_which_was_wrong(client: Client) -> None:
    make_person(ADDRESS)
    pages = [
        client.post("/account/login/", {"login": email, "password": "not the password"})
        for email in (ADDRESS, "nobody@example.org")
    ]
    texts = {re.findall(r'role="alert".*?</div></div>', p.content.decode(), re.S)[0] for p in pages}
    assert len(texts) == 1
    assert client.get("/dashboard/").status_code == 302


def test_the_right_password_signs_in(client: Client) -> None:
    make_person(ADDRESS)
    response = client.post("/account/login/", {"login": ADDRESS, "password": PASSWORD})
    assert response.headers["Location"] == "/dashboard/"


def test_a_forgotten_password_is_set_anew_by_mail(client: Client) -> None:
    make_person(ADDRESS)
    client.post("/account/password/reset/", {"email": ADDRESS})
    path = link_in(newest_mail(client), "password/reset/key")
    form = client.get(path, follow=True)
    again = form.redirect_chain[-1][0]
    client.post(again, {"password1": "another long phrase", "password2": "another long phrase"})
    assert User.objects.get(email=ADDRESS).check_password("another long phrase")


def test_signing_out_needs_a_form(client: Client) -> None:
    client.force_login(make_person(ADDRESS))
    client.get("/account/logout/")
    assert client.get("/dashboard/").status_code == 200
    client.post("/account/logout/")
    assert client.get("/dashboard/").status_code == 302
