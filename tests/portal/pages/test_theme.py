"""The theme without a script."""

from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_choice_is_kept_and_the_page_comes_back(client: Client) -> None:
    response = client.post("/theme/", {"theme": "dark", "next": "/settings/"})
    assert response.headers["Location"] == "/settings/"
    assert client.cookies["theme"].value == "dark"
    assert b'data-theme="dark"' in client.get("/account/login/").content


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example", ""])
def test_it_never_leads_elsewhere(client: Client, target: str) -> None:
    response = client.post("/theme/", {"theme": "light", "next": target})
    assert response.headers["Location"] == "/"


def test_another_word_is_refused(client: Client) -> None:
    assert client.post("/theme/", {"theme": "pink"}).status_code == 400


def test_it_is_not_chosen_by_a_link(client: Client) -> None:
    assert client.get("/theme/").status_code == 405
